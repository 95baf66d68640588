"""Contexts and copies that leave a user's network as it was."""
