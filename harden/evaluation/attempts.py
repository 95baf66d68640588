"""An attempt is an attack on a loss, with the name under which its result is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks import PGD, Attack
from harden.description import JSON, describe
from harden.losses import Classify, CrossEntropy, LossFunction, Margin

MakeLoss = Callable[[Classify, Tensor], LossFunction]


@final
@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to look for a witness.

    Args:
        name: under which it is reported.
        attack: searches ball and box.
        loss: makes the per-example loss from (classify, y): harden.losses.CrossEntropy, Margin, or your own.
        precision: of the fast copy of the network that the attack steers by, torch.float32 or torch.bfloat16;
            what it finds is judged by the network itself.
    """

    name: str
    attack: Attack
    loss: MakeLoss = CrossEntropy
    precision: torch.dtype = torch.float32

    def describe(self) -> dict[str, JSON]:
        """The attempt as JSON, for certificate and baseline."""
        return {
            "attack": describe(self.attack),
            "loss": describe(self.loss),
            "precision": str(self.precision).removeprefix("torch."),
        }


def pgd_suite(
    steps: int = 50, restarts: int = 3, precision: torch.dtype = torch.float32
) -> tuple[Attempt, ...]:
    """PGD on cross-entropy and on the margin, which finds what a saturated softmax hides from the first."""
    attack = PGD(steps=steps, restarts=restarts)
    return (
        Attempt(f"pgd-{steps}-ce", attack, CrossEntropy, precision),
        Attempt(f"pgd-{steps}-margin", attack, Margin, precision),
    )
