"""What all iterated attacks share: the search for the best point, its losses, its arguments."""
