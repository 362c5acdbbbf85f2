"""A run's response field: where its rows start, and what they become."""
