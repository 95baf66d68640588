"""Common parts of iterated attacks: the search for the best point, its losses, its arguments."""
