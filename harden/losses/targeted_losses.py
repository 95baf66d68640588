"""Losses towards a target class. An error of the network is any answer but the label, as elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from harden.kernels.loss_grad import (
    LossGrad,
    targeted_cross_entropy_grad_,
    targeted_dlr_grad_,
    targeted_margin_grad_,
)
from harden.losses.logit_functions import (
    Classify,
    errs,
    targeted_cross_entropy,
    targeted_dlr,
    targeted_margin,
)
from harden.losses.loss import Loss, no_targeted_form


@final
@dataclass(frozen=True, slots=True, eq=False)
class TargetedCrossEntropy:
    """log softmax(z(x))_t, in nats: minus the cross-entropy of class t, at most 0.

    Above -log 2 class t has most of the probability and the network errs; it errs elsewhere too, so no other
    value of the loss says whether it does.

    Source: Kurakin, Goodfellow and Bengio, 1607.02533 (towards the least likely class).

    Args:
        classify: images (N, C, H, W) to logits (N, K), K >= 2.
        y: labels, int64 (N,).
        target: the class t to be reached, int64 (N,), other than y.
    """

    classify: Classify
    y: Tensor
    target: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The log-probability of class t of each example: (N,)."""
        return targeted_cross_entropy(self.classify(x), self.target)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,), from one forward."""
        logits = self.classify(x)
        return targeted_cross_entropy(logits, self.target), errs(logits, self.y)

    def take(self, index: Tensor) -> TargetedCrossEntropy:
        """The same loss on the examples at `index`."""
        return TargetedCrossEntropy(self.classify, self.y[index], self.target[index])

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits (N, K)."""
        return self.classify(x)

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        out = LossGrad.like(logits)
        targeted_cross_entropy_grad_(out, logits, self.y, self.target)
        return out

    def aimed(self, target: Tensor) -> Loss:
        """The loss has a target already.

        Raises:
            InputError: always.
        """
        del target
        raise no_targeted_form(self)


@final
@dataclass(frozen=True, slots=True, eq=False)
class TargetedMargin:
    """z_t(x) - z_y(x): positive where class t is ahead of y.

    The network errs there, and elsewhere too: any class but y is an error.

    Source: Carlini and Wagner, 1608.04644, against y alone and not against the best of all other classes.

    Args:
        classify: images (N, C, H, W) to logits (N, K), K >= 2.
        y: labels, int64 (N,).
        target: the class t to be reached, int64 (N,), other than y.
    """

    classify: Classify
    y: Tensor
    target: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The lead of class t over y of each example: (N,)."""
        return targeted_margin(self.classify(x), self.y, self.target)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,), from one forward."""
        logits = self.classify(x)
        return targeted_margin(logits, self.y, self.target), errs(logits, self.y)

    def take(self, index: Tensor) -> TargetedMargin:
        """The same loss on the examples at `index`."""
        return TargetedMargin(self.classify, self.y[index], self.target[index])

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits (N, K)."""
        return self.classify(x)

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        out = LossGrad.like(logits)
        targeted_margin_grad_(out, logits, self.y, self.target)
        return out

    def aimed(self, target: Tensor) -> Loss:
        """The loss has a target already.

        Raises:
            InputError: always.
        """
        del target
        raise no_targeted_form(self)


@final
@dataclass(frozen=True, slots=True, eq=False)
class TargetedDLR:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12), z_(1) >= z_(2) >= ... the logits z(x) in order.

    Positive where class t is ahead of y. The network errs there, and elsewhere too: any class but y is an
    error.

    Source: Croce and Hein, 2003.01690.

    Args:
        classify: images (N, C, H, W) to logits (N, K), K >= 4.
        y: labels, int64 (N,).
        target: the class t to be reached, int64 (N,), other than y.

    Raises:
        InputError: when called, where the logits have fewer than 4 classes.
    """

    classify: Classify
    y: Tensor
    target: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The ratio of each example: (N,)."""
        return targeted_dlr(self.classify(x), self.y, self.target)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,), from one forward."""
        logits = self.classify(x)
        return targeted_dlr(logits, self.y, self.target), errs(logits, self.y)

    def take(self, index: Tensor) -> TargetedDLR:
        """The same loss on the examples at `index`."""
        return TargetedDLR(self.classify, self.y[index], self.target[index])

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits (N, K)."""
        return self.classify(x)

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        out = LossGrad.like(logits)
        targeted_dlr_grad_(out, logits, self.y, self.target)
        return out

    def aimed(self, target: Tensor) -> Loss:
        """The loss has a target already.

        Raises:
            InputError: always.
        """
        del target
        raise no_targeted_form(self)
