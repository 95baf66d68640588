"""Branch and bound: regions are split until each part is proved."""
