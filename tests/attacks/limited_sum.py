"""A loss that judges by a sum over the pixels, exact in any batch, for attacks that need verdicts alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harden.draws import Draws
from tests.attacks.own_loss import OwnLoss

SHAPES = [(3, 4, 4), (1, 5, 3), (1, 1, 1), (2, 1, 1), (1, 1, 7)]


class Above(OwnLoss):
    """Errs where a sum, pixel by pixel, lies above a limit: the same bits in any batch. It has no value."""

    def __init__(self, w: Tensor, limit: Tensor) -> None:
        self.w, self.limit = w, limit
        self.queried: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        raise AssertionError("the loss itself is not needed")

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.queried.append(len(x))
        wrong = (self.w * x).double().flatten(1).sum(1) > self.limit
        return torch.full((len(x),), math.nan), wrong

    def take(self, index: Tensor) -> Above:
        part = Above(self.w, self.limit[index])
        part.queried = self.queried
        return part


def limited_sums(n: int, shape: tuple[int, ...], seed: int) -> tuple[Tensor, Above]:
    """Images (n, *shape) classified correctly, and a loss whose limits lie a little above their sums."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.1 + 0.8 * torch.rand(n, *shape, generator=generator)
    w = torch.randn(shape, generator=generator)
    room = torch.rand(n, generator=generator).double() * float(w.abs().sum()) * 0.2
    return x, Above(w, (w * x).double().flatten(1).sum(1) + room)


def draws_for(x: Tensor) -> Draws:
    """Draws of seed 0, ids by position."""
    return Draws(0, torch.arange(len(x)))
