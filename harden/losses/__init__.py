"""Losses per example: what an attack maximises. They carry labels and model; an attack needs neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from torch import Tensor
from torch.nn import functional

from harden.kernels.loss_grad import LossGrad, cross_entropy_grad_, margin_grad_
from harden.losses.divisible import DivisibleLoss
from harden.losses.labels import Labels
from harden.losses.logits import Classify, divergence, dlr, errs, margin, targeted_dlr
from harden.losses.ratio import DLR, TargetedDLR

__all__ = [
    "DLR",
    "Classify",
    "CrossEntropy",
    "Divergence",
    "DivisibleLoss",
    "GradedLoss",
    "InfoNCE",
    "JudgedLoss",
    "Labels",
    "Loss",
    "LossFunction",
    "Margin",
    "Steered",
    "SteeringLoss",
    "TargetedDLR",
    "divergence",
    "dlr",
    "errs",
    "margin",
    "steered",
    "targeted_dlr",
]

LossFunction = Callable[[Tensor], Tensor]


@runtime_checkable
class Loss(Protocol):
    """A per-example loss that can be restricted to some of its examples and that shows its logits.

    A plain callable `x -> (N,)` serves as a loss too; an attack then works on whole batches.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example: (N, ...) -> (N,)."""
        ...

    def take(self, index: Tensor) -> Loss:
        """The same loss on the examples at `index`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...


@runtime_checkable
class JudgedLoss(Protocol):
    """A loss that also tells where the network errs: no attack then trades a witness for a larger loss."""

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,)."""
        ...


@runtime_checkable
class GradedLoss(Protocol):
    """A loss of a network's logits alone, whose gradient there is known in closed form."""

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        ...


@runtime_checkable
class SteeringLoss(Protocol):
    """A loss that tells errors, shows its logits and can be restricted to some of its examples."""

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example: (N, ...) -> (N,)."""
        ...

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,)."""
        ...

    def take(self, index: Tensor) -> SteeringLoss:
        """The same loss on the examples at `index`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...


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


@final
@dataclass(frozen=True, slots=True, eq=False)
class Steered:
    """A loss whose values and gradients come from a fast copy of the network, its verdicts from the network.

    The copy's account of an error is a claim, which an attack has the network confirm: so rounding, as of
    bfloat16, can cost an attack strength but can't make up a witness.

    Args:
        steering: the loss on the fast copy.
        exact: the same loss on the network itself; it tells errors and can be restricted, as `steering` can.
    """

    steering: SteeringLoss
    exact: SteeringLoss

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example on the fast copy: (N,)."""
        return self.steering(x)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the fast copy errs on it, bool (N,)."""
        return self.steering.judged(x)

    def take(self, index: Tensor) -> Steered:
        """The same loss on the examples at `index`."""
        return Steered(self.steering.take(index), self.exact.take(index))

    def logits(self, x: Tensor) -> Tensor:
        """The fast copy's logits (N, K)."""
        return self.steering.logits(x)


def steered(
    make: Callable[[Classify, Tensor], LossFunction], fast: Classify, exact: Classify, y: Tensor
) -> LossFunction:
    """Make a loss that is steered by `fast` where it tells errors, else the loss on `fast` alone.

    Args:
        make: a loss's class, or anything that makes a per-example loss from (classify, y).
        fast: a fast copy of the network.
        exact: the network itself.
        y: labels, int64 (N,).
    """
    steering = make(fast, y)
    judging = make(exact, y) if isinstance(steering, SteeringLoss) else None
    if isinstance(steering, SteeringLoss) and isinstance(judging, SteeringLoss):
        return Steered(steering, judging)
    return steering
