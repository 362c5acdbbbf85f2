"""SimCLR (being written)."""
