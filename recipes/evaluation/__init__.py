"""Read a trained run, and score its features."""
