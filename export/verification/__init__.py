"""Compare an exported file with its encoder."""
