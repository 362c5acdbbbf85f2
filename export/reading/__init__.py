"""From sources of images to pixels: listed as they are read, decoded by processes."""
