"""Encoders by name: modules from images (B, C, H, W) to features (B, D)."""
