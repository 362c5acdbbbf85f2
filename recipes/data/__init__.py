"""Image data by name, and the labels of a part of it."""
