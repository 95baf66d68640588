"""Which attempts an evaluation makes, from a glance to what a published number should stand on.

In each the cheapest comes first, and every attempt meets only what the ones before it left standing.
"""

from __future__ import annotations

import torch

from harden.attacks import PGD
from harden.evaluation.attempts import Attempt
from harden.losses import CrossEntropy, Margin


def pgd_suite(
    steps: int = 50, restarts: int = 3, precision: torch.dtype = torch.float32
) -> tuple[Attempt, ...]:
    """PGD on cross-entropy and on the margin, which finds what a saturated softmax hides from the first."""
    attack = PGD(steps=steps, restarts=restarts)
    return (
        Attempt(f"pgd-{steps}-ce", attack, CrossEntropy, precision),
        Attempt(f"pgd-{steps}-margin", attack, Margin, precision),
    )
