"""Weights and the state of a run on disk."""
