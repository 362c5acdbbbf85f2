"""Embed folders of images, and serve an exported file."""
