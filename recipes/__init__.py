"""Recipes: one self-supervised method a file, with their data and evaluation."""
