"""What there is to embed, listed as it is embedded: there may be millions of images."""
