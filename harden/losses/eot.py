"""The expectation over a network's own randomness: what an attack on a randomised network climbs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses.fast_copy_loss import aimable
from harden.losses.logits import Classify
from harden.losses.loss import LossFunction, SteeringLoss


@final
@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """E_r[L(x; r)] estimated by the mean of so many draws, r the network's own randomness.

    The network errs where it does so in more than half of the draws. The gradient is that of the mean: the
    expectation over transformation of Athalye et al. (1707.07397, 1802.00420).

    Args:
        loss: the loss on one draw; it tells errors.
        samples: draws for each value.
    """

    loss: SteeringLoss
    samples: int

    @property
    def y(self) -> Tensor:
        """The labels, int64 (N,).

        Raises:
            AttributeError: the loss shows none. No error of ours, for `isinstance` looks here too.
        """
        loss: Any = self.loss
        labels: Tensor = loss.y
        return labels

    def __call__(self, x: Tensor) -> Tensor:
        """The mean loss of each example: (N,)."""
        return torch.stack([self.loss(x) for _ in range(self.samples)]).mean(0)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of each example (N,), and whether most draws err on it, bool (N,)."""
        values, wrong = zip(*(self.loss.judged(x) for _ in range(self.samples)), strict=True)
        return torch.stack(values).mean(0), torch.stack(wrong).float().mean(0) > 0.5

    def take(self, index: Tensor) -> Expected:
        """The same loss on the examples at `index`."""
        return Expected(self.loss.take(index), self.samples)

    def logits(self, x: Tensor) -> Tensor:
        """The network's mean logits (N, K)."""
        return torch.stack([self.loss.logits(x) for _ in range(self.samples)]).mean(0)

    def aimed(self, target: Tensor) -> Expected:
        """The same of the targeted form of the loss.

        Raises:
            InputError: it has none.
        """
        return Expected(aimable(self.loss).aimed(target), self.samples)


@final
@dataclass(frozen=True, slots=True)
class EOT:
    """Makes the expectation of a loss over a network's own randomness, from (classify, y).

    Args:
        make: a loss's class: CrossEntropy, Margin or DLR.
        samples: draws for each value; each costs a pass.

    Raises:
        InputError: samples below 1; when called, a loss that tells no errors.
    """

    make: Callable[[Classify, Tensor], LossFunction]
    samples: int = 20

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"{self.samples} samples", "at least one", "write EOT(DLR, samples=20)")

    def __call__(self, classify: Classify, y: Tensor) -> Expected:
        """The expectation of the loss on this network and these labels, int64 (N,)."""
        loss: object = self.make(classify, y)
        if not isinstance(loss, SteeringLoss):
            raise InputError(
                f"a loss {type(loss).__name__} that tells no errors",
                "a loss with judged, take and logits",
                "write EOT(harden.losses.Margin)",
            )
        return Expected(loss, self.samples)
