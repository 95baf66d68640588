"""Splits, groups, duplicates and leakage."""
