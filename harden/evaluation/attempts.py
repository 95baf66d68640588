"""An attempt is an attack on a loss, with the name under which its result is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

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
    """

    name: str
    attack: Attack
    loss: MakeLoss = CrossEntropy

    def describe(self) -> dict[str, JSON]:
        """The attempt as JSON, for certificate and baseline."""
        return {"attack": describe(self.attack), "loss": describe(self.loss)}


def pgd_suite(steps: int = 50, restarts: int = 3) -> tuple[Attempt, ...]:
    """PGD on cross-entropy and on the margin, which finds what a saturated softmax hides from the first."""
    attack = PGD(steps=steps, restarts=restarts)
    return (
        Attempt(f"pgd-{steps}-ce", attack, CrossEntropy),
        Attempt(f"pgd-{steps}-margin", attack, Margin),
    )
