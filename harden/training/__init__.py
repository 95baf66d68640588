"""Training: one loop, an iterator that yields its steps, for every objective."""

from harden.training.budget import Budget, Spent
from harden.training.loop import train
from harden.training.optimisers import SGD, AdamW
from harden.training.stage import Stage, StepRecord, Validation

__all__ = ["SGD", "AdamW", "Budget", "Spent", "Stage", "StepRecord", "Validation", "train"]
