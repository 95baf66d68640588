"""Data formats that are read."""
