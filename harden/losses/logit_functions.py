"""Functions of a batch of logits, one value an example, that losses and verdicts are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from harden.errors import InputError

Classify = Callable[[Tensor], Tensor]

# The authors' implementation adds it too: three classes that tie give a large slope, not a division by zero.
TINY = 1e-12


def errs(logits: Tensor, y: Tensor) -> Tensor:
    """Whether the answer is wrong, another class ahead or a logit not finite: (N, K), (N,) -> bool (N,)."""
    return (logits.argmax(1) != y) | ~logits.isfinite().all(1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y for logits (N, K), K >= 2, and labels (N,): (N,)."""
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, y.unsqueeze(1), -torch.inf)
    return others.amax(1) - own


def divergence(log_target: Tensor, logits: Tensor) -> Tensor:
    """KL(p || softmax(z)) per example, from log p (N, K) and logits z (N, K): (N,)."""
    per_class = functional.kl_div(logits.log_softmax(1), log_target, reduction="none", log_target=True)
    return per_class.sum(1)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """(max_{j != y} z_j - z_y) / (z_(1) - z_(3) + 1e-12) for logits (N, K), K >= 3, and labels (N,): (N,).

    Raises:
        InputError: K is below 3.
    """
    _check(logits, least=3)
    ordered = logits.topk(3, dim=1).values
    return margin(logits, y) / (ordered[:, 0] - ordered[:, 2] + TINY)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12) for logits (N, K), K >= 4, and classes (N,): (N,).

    Raises:
        InputError: K is below 4.
    """
    _check(logits, least=4)
    ordered = logits.topk(4, dim=1).values
    return targeted_margin(logits, y, target) / (ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2 + TINY)


def targeted_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """z_t - log sum_j exp(z_j), in nats, for logits (N, K) and classes (N,): (N,)."""
    return -functional.cross_entropy(logits, target, reduction="none")


def targeted_margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """z_t - z_y for logits (N, K), labels (N,) and classes (N,): (N,)."""
    return (logits.gather(1, target.unsqueeze(1)) - logits.gather(1, y.unsqueeze(1))).squeeze(1)


def _check(logits: Tensor, *, least: int) -> None:
    if logits.shape[1] < least:
        raise InputError(
            f"logits of {logits.shape[1]} classes",
            f"at least {least} classes, for the ratio divides by a difference to the third",
            "use harden.losses.Margin(classify, y), which has the same sign",
        )
