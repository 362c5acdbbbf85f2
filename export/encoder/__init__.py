"""The encoder to export: read from a checkpoint and frozen."""
