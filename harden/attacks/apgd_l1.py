"""Auto-PGD's steps in the L1 ball: how many pixels a step moves adapts (Croce & Hein, 2103.01208)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import final

import torch
from torch import Tensor

from harden.draws import Draws
from harden.kernels import copy_rows_
from harden.threats import L1

FIRST_SHARE = 0.2
"""Of an image's entries, what the first step moves."""

PERIOD = 0.04
"""Share of all steps after which sparsity and step size are set again."""

SPARSER = 0.95
"""The best point counts as sparser than at the last check below this quotient of changed entries."""

DENSER = 1.5
"""A step moves the best point's changed entries over this; a step size that is not reset is divided by it."""

SMALLEST = 0.1
"""The least step size, over eps."""


def sparse_start(threat: L1, x: Tensor, draws: Draws) -> Tensor:
    """Normal noise projected onto ball and box around x: few entries are left, as a sparse attack needs."""
    x_adv = x + draws.normal(tuple(x.shape[1:])).to(x.device)
    threat.project_(x_adv, x)
    return x_adv


@final
@dataclass(frozen=True, slots=True, eq=False)
class _SparseMemory:
    """What a run remembers of each example: its best point, and how it steps.

    Attributes:
        best: the point of largest loss (N, C, H, W).
        gradient: there (N, C, H, W).
        height: the loss there (N,).
        step_size: an L1 length in pixel units (N,).
        moving: how many entries a step moves (N,).
        changed: how many entries of the best point differed from the image at the last check (N,).
    """

    best: Tensor
    gradient: Tensor
    height: Tensor
    step_size: Tensor
    moving: Tensor
    changed: Tensor


@final
@dataclass(slots=True, eq=False)
class SparseSteps:
    """x_{t+1} = P(x_t + a_t s(g_t) / k_t), s the sign on the k_t entries of largest |g_t|; no momentum.

    At first k is a fifth of the entries and a is eps. After every 4 % of the steps k becomes the number of
    entries in which the best point differs from the image, over 1.5. Where that number has fallen by 5 %
    or more, a is set to eps and the run goes on from its best point; elsewhere a falls by 1.5, to eps / 10 at
    least.

    Attributes:
        threat: owns step and projection.
        memory: of each example.
        period: steps between two checks.
        number: steps so far.
    """

    threat: L1
    memory: _SparseMemory
    period: int
    number: int = 0

    @classmethod
    def begin(cls, threat: L1, start: Tensor, steps: int) -> SparseSteps:
        """The rule of a run that begins at `start` (N, C, H, W)."""
        entries = float(math.prod(start.shape[1:]))
        one = start.new_ones(len(start))
        memory = _SparseMemory(
            best=start.clone(),
            gradient=torch.zeros_like(start),
            height=-torch.inf * one,
            step_size=float(threat.eps) * one,
            moving=max(1.0, FIRST_SHARE * entries) * one,
            changed=entries * one,
        )
        return cls(threat, memory, max(int(PERIOD * steps), 1))

    def move_(self, x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Move x_adv to its next place in ball and box around x, in place."""
        memory = self.memory
        higher = value > memory.height
        copy_rows_(memory.best, x_adv, higher)
        copy_rows_(memory.gradient, gradient, higher)
        torch.where(higher, value, memory.height, out=memory.height)
        if self.number and self.number % self.period == 0:
            again = self._look_(x)
            copy_rows_(x_adv, memory.best, again)
            gradient = torch.where(again.view(-1, *[1] * (x.dim() - 1)), memory.gradient, gradient)
        self.threat.sparse_step_(x_adv, x, gradient, memory.step_size, memory.moving)
        self.number += 1

    def take(self, index: Tensor) -> SparseSteps:
        """The rule for the examples at index, int64 (M,)."""
        memory = _SparseMemory(*(getattr(self.memory, field.name)[index] for field in fields(self.memory)))
        return SparseSteps(self.threat, memory, self.period, self.number)

    def _look_(self, x: Tensor) -> Tensor:
        """Adapt sparsity and step size, and say which examples go on from their best point, bool (N,)."""
        memory, eps = self.memory, float(self.threat.eps)
        changed = (memory.best != x).flatten(1).sum(1).to(memory.changed)
        sparser = changed < SPARSER * memory.changed
        memory.moving.copy_((changed / DENSER).clamp_min(1.0))
        smaller = (memory.step_size / DENSER).clamp_min(SMALLEST * eps)
        memory.step_size.copy_(torch.where(sparser, torch.full_like(smaller, eps), smaller))
        memory.changed.copy_(changed)
        return sparser
