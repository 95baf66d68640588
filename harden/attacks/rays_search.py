"""RayS's search over sign directions, in which each query evaluates one point of every example."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import final

import torch
from torch import Tensor

from harden.attacks.engine.compaction import FULL_ENOUGH
from harden.attacks.engine.loss_adapter import LossAdapter
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.engine.success_steps import current_record
from harden.threats import Threat

NEARLY = 1 + 1e-5
"""A point so little outside the ball, in units of eps, is moved into it and judged again."""


@final
@dataclass(slots=True, eq=False)
class _Rays:
    """The state of each example's search.

    Attributes:
        rows: which examples they are, int64 (M,).
        x: their images (M, C, H, W).
        sign: the best direction so far, 1 or -1, (M, d).
        radius: at which the network errs along it; the box's width where it is not known to, float64 (M,).
        found: whether it is, bool (M,).
        level: 2^level blocks; -1 where the direction itself, nothing turned, is to be tried, int64 (M,).
        block: the block that is turned, int64 (M,).
        bisecting: whether the turned direction is being measured, bool (M,).
        low: a radius at which the network answers right, or 0, float64 (M,).
        high: one at which it errs, float64 (M,).
        settled: whether work on it has ended, bool (M,).
    """

    rows: Tensor
    x: Tensor
    sign: Tensor
    radius: Tensor
    found: Tensor
    level: Tensor
    block: Tensor
    bisecting: Tensor
    low: Tensor
    high: Tensor
    settled: Tensor

    @classmethod
    def begin(cls, x: Tensor, width: float, settled: Tensor) -> _Rays:
        """All examples at the first direction."""
        none = torch.zeros_like(settled)
        zero = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        return cls(
            rows=torch.arange(len(x), device=x.device),
            x=x,
            sign=torch.ones_like(x).flatten(1),
            radius=zero + width,
            found=none,
            level=torch.full_like(zero, -1, dtype=torch.int64),
            block=zero.long(),
            bisecting=none.clone(),
            low=zero.clone(),
            high=zero.clone(),
            settled=settled,
        )

    def take(self, index: Tensor) -> _Rays:
        """The examples at index, int64 (K,)."""
        return _Rays(*(getattr(self, field.name)[index] for field in fields(self)))

    def turned(self) -> Tensor:
        """The directions of this query: the best ones with one block turned over, (M, d)."""
        start, stop = (end.unsqueeze(1) for end in self._ends())
        place = torch.arange(self.sign.shape[1], device=self.sign.device)
        return torch.where((place >= start) & (place < stop), -self.sign, self.sign)

    def next_(self, where: Tensor) -> None:
        """Go on to the next block, or to blocks of half the size, where `where`, bool (M,), is true."""
        entries = self.sign.shape[1]
        last = (self.level < 0) | (self._ends()[1] >= entries)
        # Blocks of one entry are not halved further: they are gone through again.
        finer = (self.level + 1).clamp_max(math.ceil(math.log2(entries)))
        self.level = torch.where(where & last, finer, self.level)
        self.block = torch.where(where, torch.where(last, 0, self.block + 1), self.block)

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Where the block begins and ends; before the first block both are 0."""
        entries, halvings = self.sign.shape[1], self.level.clamp_min(0)
        size = (entries + (1 << halvings) - 1) >> halvings  # rounded up
        size = torch.where(self.level < 0, 0, size)
        start = self.block * size
        return start, (start + size).clamp_max(entries)


@final
class RaysSearch:
    """The nearest error around each image along sign directions.

    Args:
        loss: one that judges errors.
        x: clean images (N, C, H, W), float32, contiguous.
        threat: owns norm and box.
        within: whether only errors inside the threat's ball are wanted.
    """

    def __init__(self, loss: LossAdapter, x: Tensor, threat: Threat, *, within: bool) -> None:
        self._loss, self._x, self._threat, self._within = loss, x, threat, within
        self._x_adv = x.clone()
        wrong = loss.exactly(x).wrong
        self._distance = torch.where(wrong, 0.0, torch.inf).double()
        self._running = loss
        self._record = current_record(len(x))
        entries = math.prod(x.shape[1:])
        # Within this radius a direction need not be measured further. A norm of a user's own has none.
        reach = {"linf": 1.0, "l2": math.sqrt(entries), "l1": float(entries)}.get(threat.name, math.inf)
        self._goal = float(threat.eps) / reach if within else 0.0
        self._at = _Rays.begin(x, threat.bounds[1] - threat.bounds[0], wrong)

    def run(self, queries: int, tolerance: float, *, stop_early: bool) -> Nearest:
        """Make so many queries, and return the nearest errors found."""
        gap = tolerance / math.sqrt(self._at.sign.shape[1])
        for query in range(1, queries + 1):
            self._compact()
            if bool(self._at.settled.all()):
                break
            before = self._distance.clone()
            self._query(gap, stop_early=stop_early)
            if self._record is not None:
                self._record.note(((self._distance < before).nonzero()).squeeze(1), query)
                self._record.total = query
        return Nearest(self._x_adv, self._distance)

    def _query(self, gap: float, *, stop_early: bool) -> None:
        """One query of each example: whether a turn helps, or the middle of an interval."""
        at = self._at
        turned = at.turned()
        # Nearer than the best radius by the resolution of the bisection: a smaller gain is none.
        probe = torch.where(at.found, (at.radius - gap).clamp_min(0.0), at.radius)
        radius = torch.where(at.bisecting, (at.low + at.high) / 2, probe)
        wrong = self._running.look(self._along(at.x, turned, radius)).wrong
        at.high = torch.where(wrong, radius, at.high)
        at.low = torch.where(wrong, torch.where(at.bisecting, at.low, 0.0), radius)
        missed = ~wrong & ~at.bisecting
        at.bisecting = at.bisecting | wrong
        near = (at.high <= self._goal) if stop_early else torch.zeros_like(wrong)
        done = at.bisecting & ((at.high - at.low <= gap) | near)
        ended = (done & ~at.settled).nonzero().squeeze(1)
        if len(ended):
            self._accept(ended, turned[ended], stop_early=stop_early)
        at.bisecting = at.bisecting & ~done
        at.next_(missed | done)

    def _accept(self, index: Tensor, turned: Tensor, *, stop_early: bool) -> None:
        """Take the measured directions over, and remember the errors along them that are nearest."""
        at = self._at
        x, radius = at.x[index], at.high[index]
        point = self._along(x, turned, radius)
        if self._loss.on_fast_copy:
            sure = self._confirmed(index, point).nonzero().squeeze(1)
            index, turned, x, radius, point = (part[sure] for part in (index, turned, x, radius, point))
        at.sign[index] = turned
        at.radius[index], at.found[index] = radius, True
        size = self._threat.size(point.double() - x.double())
        if self._within:
            inside = self._moved_inside(index, point, x, size)
            index, point, x = index[inside], point[inside], x[inside]
            size = self._threat.size(point.double() - x.double())
        rows = at.rows[index]
        nearer = size < self._distance[rows]
        self._distance[rows[nearer]], self._x_adv[rows[nearer]] = size[nearer], point[nearer]
        if stop_early:
            at.settled[index] = True

    def _moved_inside(self, index: Tensor, point: Tensor, x: Tensor, size: Tensor) -> Tensor:
        """Which points, moved exactly into the ball in place, are errors there: int64 (K,)."""
        near = (size <= float(self._threat.eps) * NEARLY).nonzero().squeeze(1)
        if len(near) == 0:
            return near
        moved = point[near]
        self._threat.project_(moved, x[near])
        other = (moved != point[near]).flatten(1).any(1).nonzero().squeeze(1)
        point[near] = moved
        if len(other):
            right = torch.ones(len(near), dtype=torch.bool, device=x.device)
            right[other] = self._confirmed(index[near[other]], moved[other])
            near = near[right]
        return near[self._threat.contains(point[near], x[near])]

    def _confirmed(self, index: Tensor, point: Tensor) -> Tensor:
        """Whether the network itself errs on these points of the examples at index, bool (K,)."""
        return self._running.take(index).exactly(point).wrong

    def _along(self, x: Tensor, sign: Tensor, radius: Tensor) -> Tensor:
        """The points x + r s, cut by the box."""
        moves = sign * radius.to(torch.float32).unsqueeze(1)
        return (x + moves.view(x.shape)).clamp_(*self._threat.bounds)

    def _compact(self) -> None:
        """Leave settled examples out where that saves enough."""
        keep = (~self._at.settled).nonzero().squeeze(1)
        if 0 < len(keep) <= FULL_ENOUGH * len(self._at.rows):
            self._at, self._running = self._at.take(keep), self._running.take(keep)
