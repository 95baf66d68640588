"""Proofs and counterexamples on a data set or a property."""
