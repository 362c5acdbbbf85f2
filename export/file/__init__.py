"""The exported file: sealed, written whole, and checked when it is read."""
