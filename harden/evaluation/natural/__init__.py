"""Measurements without attacks: corruptions, calibration, decision thresholds."""
