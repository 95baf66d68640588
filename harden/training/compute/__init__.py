"""Computation of training steps: the memory order of weights, and the number format of passes."""
