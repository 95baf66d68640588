"""Proofs and counterexamples for the images of a data set, or for a VNN-LIB property."""
