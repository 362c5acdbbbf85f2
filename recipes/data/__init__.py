"""Image data by name, and the labels of a part of it."""

from rkdo_plugin.recipes.data.load import load_data

__all__ = ["load_data"]
