"""Auto-PGD: PGD with momentum whose step size halves where it makes no progress (2003.01690)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import accumulate
from typing import final

import torch
from torch import Tensor

from harden.attacks.apgd_l1 import SparseSteps, sparse_start
from harden.attacks.apgd_schedule import periods
from harden.attacks.attack import searching
from harden.attacks.engine.argument_checks import check_counts, check_draws
from harden.attacks.engine.best_point_search import BestPointSearch
from harden.draws import Draws
from harden.errors import InputError
from harden.kernels import copy_rows_
from harden.losses import LossFunction
from harden.threats import L1, Threat
from harden.threats.momentum_step import momentum_step_

STAYS = 0.75
"""How much of a step is taken along the gradient, and how much along the last move: alpha in the paper."""


@final
@dataclass(frozen=True, slots=True)
class APGD:
    """z = P(x_t + a_t d(g_t)), x_{t+1} = P(x_t + 0.75 (z - x_t) + 0.25 (x_t - x_{t-1})), g_t = grad L(x_t).

    d is the threat's steepest direction, P its projection (Croce & Hein, 2003.01690). At each checkpoint the
    step size of an example halves, and it goes on from its best point, where fewer than `rho` of the steps
    since the last one raised the loss, or where neither the step size nor the largest loss has changed since
    then. The first step size is 2 eps. In the L1 ball the steps are those of `SparseSteps` (2103.01208).

    Guarantee: as `harden.attacks.PGD` with `keep_best`.

    Args:
        steps: gradient steps of each restart.
        restarts: independent runs; the best is kept, per example.
        rho: 0.75 in the paper; of no meaning in L1.
        random_start: start anywhere in the ball instead of at x.
        stop_early: end work on an example at its first error, as in `harden.attacks.PGD`.

    Raises:
        InputError: steps or restarts below 1, or rho outside [0, 1].
    """

    steps: int = 100
    restarts: int = 1
    rho: float = 0.75
    random_start: bool = True
    stop_early: bool = False

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts, "write APGD(steps=100, restarts=1)")
        if not 0 <= self.rho <= 1:
            raise InputError(f"rho {self.rho}", "a share in [0, 1]", "write APGD(rho=0.75)")

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient."""
        check_draws(draws, x)
        if len(x) == 0:
            return x.detach().clone()
        with searching(x) as clean:
            search = BestPointSearch(loss, clean, stop_early=self.stop_early)
            for restart in range(self.restarts):
                rows = search.remaining()
                if len(rows):
                    near = clean[rows]
                    own = draws.fold(restart).take(rows)
                    start = self._start(threat, near, own) if self.random_start else near.clone()
                    rule = self._rule(threat, start)
                    search.run(rows, start, rule, self.steps)
            return search.found()

    def _start(self, threat: Threat, x: Tensor, draws: Draws) -> Tensor:
        return sparse_start(threat, x, draws) if isinstance(threat, L1) else threat.start(x, draws)

    def _rule(self, threat: Threat, start: Tensor) -> _MomentumSteps | SparseSteps:
        if isinstance(threat, L1):
            return SparseSteps.begin(threat, start, self.steps)
        lengths = periods(self.steps)
        checkpoints = dict(zip(accumulate(lengths), lengths, strict=True))
        return _MomentumSteps(threat, _RunMemory.at(start, 2.0 * float(threat.eps)), checkpoints, self.rho)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _RunMemory:
    """What a run remembers of each example.

    Attributes:
        before: the point before this one (N, C, H, W).
        best: the point of largest loss (N, C, H, W).
        gradient: there (N, C, H, W).
        height: the loss there (N,).
        last: the loss at the point before (N,).
        ups: how often the loss rose since the last checkpoint (N,).
        seen: the largest loss at the last checkpoint (N,).
        step_size: in pixel units (N,).
        halved: whether the last checkpoint halved it, bool (N,).
    """

    before: Tensor
    best: Tensor
    gradient: Tensor
    height: Tensor
    last: Tensor
    ups: Tensor
    seen: Tensor
    step_size: Tensor
    halved: Tensor

    @classmethod
    def at(cls, start: Tensor, step_size: float) -> _RunMemory:
        """The memory of a run that begins."""
        lowest = start.new_full((len(start),), -torch.inf)
        return cls(
            before=start.clone(),
            best=start.clone(),
            gradient=torch.zeros_like(start),
            height=lowest,
            last=lowest.clone(),
            ups=torch.zeros_like(lowest),
            seen=lowest.clone(),
            step_size=torch.full_like(lowest, step_size),
            halved=torch.ones_like(lowest, dtype=torch.bool),
        )

    def take(self, index: Tensor) -> _RunMemory:
        """The memory of the examples at index, int64 (M,)."""
        return _RunMemory(*(getattr(self, field.name)[index] for field in fields(self)))

    def rise_(self, x_adv: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Note the loss and gradient at a new point."""
        self.ups.add_(value > self.last)
        self.last.copy_(value)
        higher = value > self.height
        copy_rows_(self.best, x_adv, higher)
        copy_rows_(self.gradient, gradient, higher)
        torch.where(higher, value, self.height, out=self.height)

    def look_back_(self, enough: float) -> Tensor:
        """Halve the step sizes of examples that make no progress, and say which those are, bool (N,)."""
        stuck = (self.ups < enough) | (~self.halved & (self.height <= self.seen))
        torch.where(stuck, self.step_size / 2, self.step_size, out=self.step_size)
        self.halved.copy_(stuck)
        self.seen.copy_(self.height)
        self.ups.zero_()
        return stuck


@final
@dataclass(slots=True, eq=False)
class _MomentumSteps:
    """The steps of one run.

    Attributes:
        threat: owns direction and projection.
        memory: of each example.
        checkpoints: after how many steps progress is checked, and over how many.
        rho: share of steps that have to raise the loss.
        number: steps so far.
    """

    threat: Threat
    memory: _RunMemory
    checkpoints: dict[int, int]
    rho: float
    number: int = 0

    def move_(self, x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        memory = self.memory
        memory.rise_(x_adv, value, gradient)
        if self.number == 0:
            memory.ups.zero_()  # the start is no step
            memory.seen.copy_(memory.height)
        if self.number in self.checkpoints:
            stuck = memory.look_back_(self.rho * self.checkpoints[self.number])
            copy_rows_(x_adv, memory.best, stuck)
            gradient = torch.where(_like(stuck, x_adv), memory.gradient, gradient)
        share = STAYS if self.number else 1.0  # the first step has no last move
        momentum_step_(self.threat, x_adv, memory.before, x, gradient, memory.step_size, share)
        self.number += 1

    def take(self, index: Tensor) -> _MomentumSteps:
        return _MomentumSteps(self.threat, self.memory.take(index), self.checkpoints, self.rho, self.number)


def _like(per_example: Tensor, x: Tensor) -> Tensor:
    return per_example.view(-1, *[1] * (x.dim() - 1))
