"""The difference of logits ratio: a margin that a network can't make small by scaling its logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from harden.kernels.loss_grad import LossGrad, dlr_grad_
from harden.losses.logit_functions import Classify, dlr, errs
from harden.losses.targeted_losses import TargetedDLR


@final
@dataclass(frozen=True, slots=True, eq=False)
class DLR:
    """-(z_y - max_{j != y} z_j) / (z_(1) - z_(3) + 1e-12), z_(1) >= z_(2) >= ... the logits z(x) in order.

    Positive exactly where the network errs, as the margin is, and at least -1. Neither its value nor the
    direction of its gradient depends on the logits' scale, so it has a usable gradient where a saturated
    cross-entropy has none.

    Source: Croce and Hein, 2003.01690.

    Args:
        classify: images (N, C, H, W) to logits (N, K), K >= 3.
        y: labels, int64 (N,).

    Raises:
        InputError: when called, where the logits have fewer than 3 classes.
    """

    classify: Classify
    y: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The ratio of each example: (N,)."""
        return dlr(self.classify(x), self.y)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,), from one forward."""
        logits = self.classify(x)
        return dlr(logits, self.y), errs(logits, self.y)

    def take(self, index: Tensor) -> DLR:
        """The same loss on the examples at `index`."""
        return DLR(self.classify, self.y[index])

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits (N, K)."""
        return self.classify(x)

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        out = LossGrad.like(logits)
        dlr_grad_(out, logits, self.y)
        return out

    def aimed(self, target: Tensor) -> TargetedDLR:
        """The loss towards the classes `target`, int64 (N,), of the same network and labels."""
        return TargetedDLR(self.classify, self.y, target)
