"""Sizes of tensors, computed before any is allocated."""
