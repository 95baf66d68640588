"""Training: one loop for every objective, an iterator that yields its steps."""

from harden.training.budget import Budget, BudgetUse
from harden.training.checkpointing.run_checkpoints import Checkpoints
from harden.training.loop import Training, train
from harden.training.optimisers import SGD, AdamW
from harden.training.schedules import Cosine, OneCycle, Piecewise
from harden.training.stage import Stage, StepRecord, Validation
from harden.training.weights.weight_averaging import TailAverage

__all__ = [
    "SGD",
    "AdamW",
    "Budget",
    "BudgetUse",
    "Checkpoints",
    "Cosine",
    "OneCycle",
    "Piecewise",
    "Stage",
    "StepRecord",
    "TailAverage",
    "Training",
    "Validation",
    "train",
]
