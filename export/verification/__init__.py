"""Compare an exported file with its encoder, and report what was found."""
