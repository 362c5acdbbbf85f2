"""Embed folders of images, and prepare an exported file for Triton."""
