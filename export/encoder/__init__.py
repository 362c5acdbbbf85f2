"""The encoder to export: its weights are read, it is frozen, and it embeds images."""
