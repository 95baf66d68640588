"""The expectation of a loss over a network's own randomness, for attacks on randomised networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses.logit_functions import Classify
from harden.losses.loss import Loss, LossFunction, loss_with_verdicts


@final
@dataclass(frozen=True, slots=True, eq=False)
class ExpectedLoss:
    """E_r[L(x; r)] estimated by the mean of so many draws, r the network's own randomness.

    The network errs where it does so in more than half of the draws. The gradient is that of the mean: the
    expectation over transformation of Athalye et al. (1707.07397, 1802.00420).

    Args:
        loss: the loss on one draw.
        samples: draws for each value.
    """

    loss: Loss
    samples: int

    @property
    def y(self) -> Tensor:
        """The labels, int64 (N,)."""
        return self.loss.y

    @property
    def graded(self) -> None:
        """None: the mean over draws is no function of one batch of logits."""
        return

    def __call__(self, x: Tensor) -> Tensor:
        """The mean loss of each example: (N,)."""
        return torch.stack([self.loss(x) for _ in range(self.samples)]).mean(0)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of each example (N,), and whether most draws err on it, bool (N,)."""
        values, wrong = zip(*(self.loss.judged(x) for _ in range(self.samples)), strict=True)
        return torch.stack(values).mean(0), torch.stack(wrong).float().mean(0) > 0.5

    def take(self, index: Tensor) -> ExpectedLoss:
        """The same loss on the examples at `index`."""
        return ExpectedLoss(self.loss.take(index), self.samples)

    def logits(self, x: Tensor) -> Tensor:
        """The network's mean logits (N, K)."""
        return torch.stack([self.loss.logits(x) for _ in range(self.samples)]).mean(0)

    def aimed(self, target: Tensor) -> ExpectedLoss:
        """The expectation of the loss's targeted form.

        Raises:
            InputError: it has none.
        """
        return ExpectedLoss(self.loss.aimed(target), self.samples)


@final
@dataclass(frozen=True, slots=True)
class EOT:
    """Makes the expectation of a loss over a network's own randomness, from (classify, y).

    Args:
        make: a loss's class: CrossEntropy, Margin or DLR.
        samples: draws for each value; each costs a pass.

    Raises:
        InputError: samples below 1; when called, a loss that is a plain function.
    """

    make: Callable[[Classify, Tensor], LossFunction]
    samples: int = 20

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"{self.samples} samples", "at least one", "write EOT(DLR, samples=20)")

    def __call__(self, classify: Classify, y: Tensor) -> ExpectedLoss:
        """The expectation of the loss on this network and these labels, int64 (N,)."""
        made = self.make(classify, y)
        loss = loss_with_verdicts(made)
        if loss is None:
            raise InputError(
                f"a loss {type(made).__name__} that does not judge where the network errs",
                "a harden.losses.Loss, with y, take, logits, judged, graded and aimed",
                "write EOT(harden.losses.Margin)",
            )
        return ExpectedLoss(loss, self.samples)
