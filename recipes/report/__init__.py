"""One HTML page about finished runs: what was found, and what follows from it."""
