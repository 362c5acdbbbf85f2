"""Augmented views, of one image or of a batch."""
