"""Losses of logits with their gradients, in plain torch: the definition of the compiled ones.

Everything is computed in float64 and rounded once. The two agree within 1e-6 of each value: they add and
exponentiate in another order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

# What the denominators are kept away from zero by, as in the implementation of Croce and Hein.
TINY = 1e-12
CROSS_ENTROPY, MARGIN, DLR, TARGETED_DLR, TARGETED_CROSS_ENTROPY, TARGETED_MARGIN = range(6)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Logits (N, K) in float64, the label's as (N, 1), and the best of the others as (N, 1)."""

    z: Tensor
    own: Tensor
    best: Tensor
    labels: Tensor  # bool (N, K), true at the label


def loss_grad_(
    loss: Tensor,
    margin: Tensor,
    wrong: Tensor,
    dlogits: Tensor,
    logits: Tensor,
    y: Tensor,
    target: Tensor,
    kind: int,
) -> None:
    """Fills the first four; see `harden.kernels.loss_grad`."""
    if logits.shape[0] == 0:
        return
    with torch.no_grad():
        classes = torch.arange(logits.shape[1], device=logits.device)
        named = (y >= 0) & (y < len(classes))
        y = torch.where(named, y, 0).unsqueeze(1)
        aimed = (target >= 0) & (target < len(classes))
        target = torch.where(aimed, target, 0).unsqueeze(1)
        z = logits.double()
        rows = _Rows(z, z.gather(1, y), z.scatter(1, y, -torch.inf).amax(1, keepdim=True), classes == y)

        lead = (rows.best.float() - rows.own.float()).squeeze(1)
        ahead = (z > rows.own) | ((z == rows.own) & (classes < y))
        nan = z.isnan().any(1)
        if kind == CROSS_ENTROPY:
            value, gradient = _softmax(rows, y)
        elif kind == TARGETED_CROSS_ENTROPY:
            value, gradient = (-part for part in _softmax(rows, target))
        else:
            value, gradient = _ratio(rows, target, kind)
        value = torch.where(nan | ~named | ~aimed, torch.nan, value.squeeze(1)).float()
        usable = value.isfinite() & gradient.float().isfinite().all(1)
        loss.copy_(value)
        margin.copy_(torch.where(nan | ~named, torch.nan, lead))
        wrong.copy_(ahead.any(1) | ~z.isfinite().all(1) | ~named)
        dlogits.copy_(torch.where(usable.unsqueeze(1), gradient, 0.0).float())


def _softmax(rows: _Rows, c: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the classes c (N, 1), whose p - 1 would round to zero: it is minus the others' sum."""
    top = torch.maximum(rows.best, rows.own)
    weights, one = (rows.z - top).exp(), torch.zeros_like(rows.labels).scatter(1, c, value=True)
    others = torch.where(one, 0.0, weights).sum(1, keepdim=True)
    total = others + weights.gather(1, c)
    gradient = torch.where(one, -others, weights) / total
    return total.log() + (top - rows.z.gather(1, c)), gradient


def _ratio(rows: _Rows, target: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    """(lead - z_y) / D with D = 1 for the margins."""
    own = torch.where(rows.labels, -1.0, 0.0)
    if kind in (DLR, MARGIN):
        leader, leading = rows.best, _shared(rows.z, rows.best, ~rows.labels)
    else:
        leader, leading = rows.z.gather(1, target), torch.zeros_like(rows.z).scatter(1, target, 1.0)
    if kind in (MARGIN, TARGETED_MARGIN):
        return (leader.float() - rows.own.float()).double(), own + leading
    ordered = rows.z.topk(4 if kind == TARGETED_DLR else 3, dim=1).values
    top, third, fourth = ordered[:, :1], ordered[:, 2:3], ordered[:, -1:]
    denominator = top - (third + fourth) / 2 + TINY
    lead = leader - rows.own
    spread = _shared(rows.z, top) - (_shared(rows.z, third) + _shared(rows.z, fourth)) / 2
    gradient = (own + leading) / denominator - lead / denominator.square() * spread
    return lead / denominator, gradient


def _shared(z: Tensor, value: Tensor, among: Tensor | None = None) -> Tensor:
    """One divided equally among the classes whose logit is `value`."""
    equal = z == value if among is None else (z == value) & among
    return equal.double() / equal.sum(1, keepdim=True)
