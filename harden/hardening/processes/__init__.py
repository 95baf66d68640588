"""Comparison of a run between its processes, and the progress that the first one keeps for all."""
