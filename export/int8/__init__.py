"""Search for an int8 graph that passes its gate."""
