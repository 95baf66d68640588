"""Accuracy and radii over a range of perturbation budgets."""
