"""The exported file: sealed, written whole, and checked whenever it is read."""
