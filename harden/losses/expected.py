"""The expectation over a network's own randomness: what an attack on a randomised network climbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """E_r[L(x; r)] estimated by the mean of so many draws, r the network's own randomness.

    The network errs where it does so in more than half of the draws. The gradient is that of the mean: the
    expectation over transformation of Athalye et al., 1707.07397 and 1802.00420.

    Args:
        loss: a loss on logits, such as harden.losses.CrossEntropy, Margin or DLR.
        samples: draws for each value.

    Raises:
        InputError: samples below 1.
    """

    loss: SampledLoss
    samples: int

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"{self.samples} samples", "at least one", "write samples=20")

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
