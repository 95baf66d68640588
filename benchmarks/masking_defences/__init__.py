"""Defences that hide gradients instead of removing errors, and attacks that know how each is built."""
