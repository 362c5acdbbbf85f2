"""Write an exported file into a Triton model repository."""
