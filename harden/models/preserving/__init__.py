"""Contexts and copies that do not change a user's network."""
