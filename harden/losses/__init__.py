"""Losses per example, which attacks maximise. A loss holds network and labels; an attack needs neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from harden.kernels.loss_grad import LossGrad, cross_entropy_grad_, margin_grad_
from harden.losses.dlr_loss import DLR
from harden.losses.eot import EOT, ExpectedLoss
from harden.losses.fast_copy_loss import FastCopyLoss, with_fast_copy
from harden.losses.label_only import Labels
from harden.losses.logit_functions import (
    Classify,
    divergence,
    dlr,
    errs,
    margin,
    targeted_cross_entropy,
    targeted_dlr,
    targeted_margin,
)
from harden.losses.loss import Loss, LossFunction, loss_with_verdicts
from harden.losses.targeted_losses import TargetedCrossEntropy, TargetedDLR, TargetedMargin

__all__ = [
    "DLR",
    "EOT",
    "Classify",
    "CrossEntropy",
    "Divergence",
    "ExpectedLoss",
    "FastCopyLoss",
    "InfoNCE",
    "Labels",
    "Loss",
    "LossFunction",
    "Margin",
    "TargetedCrossEntropy",
    "TargetedDLR",
    "TargetedMargin",
    "divergence",
    "dlr",
    "errs",
    "loss_with_verdicts",
    "margin",
    "targeted_cross_entropy",
    "targeted_dlr",
    "targeted_margin",
    "with_fast_copy",
]


@final
@dataclass(frozen=True, slots=True, eq=False)
class CrossEntropy:
    """-log softmax(z(x))_y, in nats.

    Args:
        classify: images (N, C, H, W) to logits (N, K).
        y: labels, int64 (N,).
    """

    classify: Classify
    y: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The cross-entropy of each example: (N,)."""
        return functional.cross_entropy(self.classify(x), self.y, reduction="none")

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,), from one forward."""
        logits = self.classify(x)
        return functional.cross_entropy(logits, self.y, reduction="none"), errs(logits, self.y)

    def take(self, index: Tensor) -> CrossEntropy:
        """The same loss on the examples at `index`."""
        return CrossEntropy(self.classify, self.y[index])

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits (N, K)."""
        return self.classify(x)

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        out = LossGrad.like(logits)
        cross_entropy_grad_(out, logits, self.y)
        return out

    def aimed(self, target: Tensor) -> TargetedCrossEntropy:
        """The loss towards the classes `target`, int64 (N,), of the same network and labels."""
        return TargetedCrossEntropy(self.classify, self.y, target)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Margin:
    """max_{j != y} z_j(x) - z_y(x): positive exactly where the network errs (Carlini and Wagner, 1608.04644).

    Args:
        classify: images (N, C, H, W) to logits (N, K), K >= 2.
        y: labels, int64 (N,).
    """

    classify: Classify
    y: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The margin by which the best wrong class leads: (N,), in logits."""
        return margin(self.classify(x), self.y)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,), from one forward."""
        logits = self.classify(x)
        return margin(logits, self.y), errs(logits, self.y)

    def take(self, index: Tensor) -> Margin:
        """The same loss on the examples at `index`."""
        return Margin(self.classify, self.y[index])

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits (N, K)."""
        return self.classify(x)

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        out = LossGrad.like(logits)
        margin_grad_(out, logits, self.y)
        return out

    def aimed(self, target: Tensor) -> TargetedMargin:
        """The loss towards the classes `target`, int64 (N,), of the same network and labels."""
        return TargetedMargin(self.classify, self.y, target)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Divergence:
    """KL(p || softmax(z(x))) = sum_k p_k (log p_k - log softmax(z(x))_k), in nats.

    TRADES maximises it with p = softmax(z(x_clean)) (Zhang et al., 1901.08573).

    Args:
        classify: images (N, C, H, W) to logits (N, K).
        log_target: log p, float (N, K).
    """

    classify: Classify
    log_target: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The divergence of each example: (N,)."""
        return divergence(self.log_target, self.classify(x))

    def take(self, index: Tensor) -> Divergence:
        """The same loss on the examples at `index`."""
        return Divergence(self.classify, self.log_target[index])

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits (N, K)."""
        return self.classify(x)


@final
@dataclass(frozen=True, slots=True, eq=False)
class InfoNCE:
    """-log( exp(s_ip) / sum_j exp(s_ij) ), s_ij = cos(f(x)_i, k_j) / temperature, p the positive.

    Source: van den Oord, Li, Vinyals, 1807.03748.

    Args:
        embed: images (N, C, H, W) to embeddings (N, D), not necessarily of length one.
        keys: the candidates, float (M, D) with M >= N.
        positive: which key belongs to each example, int64 (N,).
        temperature: divides the cosine similarities.
    """

    embed: Classify
    keys: Tensor
    positive: Tensor
    temperature: float = 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """The contrastive loss of each example: (N,), in nats."""
        return functional.cross_entropy(self.logits(x), self.positive, reduction="none")

    def take(self, index: Tensor) -> InfoNCE:
        """The same loss on the examples at `index`, against the same keys."""
        return InfoNCE(self.embed, self.keys, self.positive[index], self.temperature)

    def logits(self, x: Tensor) -> Tensor:
        """The similarities s (N, M)."""
        similarity = functional.normalize(self.embed(x)) @ functional.normalize(self.keys).T
        return similarity / self.temperature
