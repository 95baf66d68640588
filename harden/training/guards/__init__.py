"""Guards that see training fail, and go back to weights from before."""
