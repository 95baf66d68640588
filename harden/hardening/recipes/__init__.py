"""Recipes: what they hold, their defaults, their names as options, and the probe of learning rates."""
