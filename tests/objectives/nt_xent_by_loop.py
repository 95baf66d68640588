"""The contrastive loss of two views by a double loop, as the paper writes it."""

from __future__ import annotations

import torch
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


def naive_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Equation 1 of Chen et al., with a loop over anchors and one over candidates."""
    both, n = [*first, *second], len(first)
    total = torch.zeros((), dtype=first.dtype)
    for i in range(2 * n):
        partner = i + n if i < n else i - n
        denominator = torch.zeros((), dtype=first.dtype)
        for k in range(2 * n):
            if k != i:
                denominator = denominator + (cosine(both[i], both[k]) / temperature).exp()
        total = total - cosine(both[i], both[partner]) / temperature + denominator.log()
    return total / (2 * n)
