"""Plugins: the hooks, the host that loads them, and what they make by name."""
