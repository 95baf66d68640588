"""Paired timing of two models."""
