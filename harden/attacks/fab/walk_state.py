"""The state of FAB over several walks: images, nearest errors so far, settled examples."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from harden.attacks.engine.compaction import CUDA_STRIDE, remaining_positions
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.engine.success_steps import current_record
from harden.attacks.fab.boundary_walk import BoundaryWalk, SignedLoss
from harden.losses import LossFunction
from harden.threats import Threat

ABOUT = 1.0 + 1e-6
"""A distance up to so many times eps may be within the ball once it is projected: rounding decides."""


@final
class WalkState:
    """The nearest errors of a network found so far, anywhere and inside the ball.

    Args:
        loss: its sign says where the network errs.
        x: clean images (N, C, H, W), float32.
        threat: norm, ball and box.
        stop_early: end work on an example at the first point of the ball on which the network errs.

    Attributes:
        nearest: the nearest points found.
        inside: the nearest points of the ball found, each projected onto it and judged again.
    """

    def __init__(self, loss: LossFunction, x: Tensor, threat: Threat, *, stop_early: bool) -> None:
        self._loss, self._x, self._threat = SignedLoss.of(loss), x, threat
        self._parts, self._stop = self._loss.adapter.judges, stop_early
        self._settled = self._loss.wrong_at_first(x)
        self.nearest, self.inside = Nearest.none(x), Nearest.none(x)
        for found in (self.nearest, self.inside):
            found.take_over_(x, torch.zeros_like(found.distance), self._settled)
        self._stride = CUDA_STRIDE if x.is_cuda else 1
        self._record, self._taken = current_record(len(x)), 0

    def remaining(self) -> Tensor:
        """Positions of the examples of the next walk, int64 (M,)."""
        remaining = (~self._settled).nonzero().squeeze(1)
        if len(remaining) == 0 or self._parts:
            return remaining
        return torch.arange(len(self._x)).to(self._x.device)

    def walk(self, rows: Tensor) -> BoundaryWalk:
        """A walk of these examples that begins at their images."""
        x = self._x[rows]
        # An attack that stops early needs points of the ball alone, and the network judges each of them.
        trusting = self._stop and self._parts
        return BoundaryWalk(
            rows, x, x.clone(), self._loss.take(rows), self._threat, Nearest.none(x), trusting
        )

    def compacted(self, walk: BoundaryWalk, step: int) -> BoundaryWalk:
        """The walk without the examples that are settled after this step."""
        if not (self._stop and self._parts) or step % self._stride:
            return walk
        self._confirm(walk, walk.found.distance <= ABOUT * float(self._threat.eps), step)
        keep = remaining_positions(self._settled[walk.rows], len(self._x))
        return walk if keep is None else walk.take(keep)

    def give_up(self, walk: BoundaryWalk, factor: float | None) -> None:
        """Settle examples whose nearest error is further away than factor times eps; none if it is None."""
        if factor is None or not (self._stop and self._parts):
            return
        far = walk.found.distance.isfinite() & (walk.found.distance > factor * float(self._threat.eps))
        self._settled[walk.rows[far]] = True

    def end(self, walk: BoundaryWalk, steps: int) -> None:
        """Take over what a walk of so many steps found; a point outside the ball may lead to one inside."""
        self.nearest.take_over_rows_(walk.rows, walk.found)
        self._confirm(walk, walk.found.distance.isfinite(), steps)
        self.ended(steps)

    def ended(self, steps: int) -> None:
        """Count the steps of a walk that is over."""
        self._taken += steps
        if self._record is not None:
            self._record.total = self._taken

    def _confirm(self, walk: BoundaryWalk, claimed: Tensor, step: int) -> None:
        """Project points onto the ball and judge them there: rounding may lose an error, or the ball."""
        if self._stop:
            claimed = claimed & ~self._settled[walk.rows]
        index = claimed.nonzero().squeeze(1)
        if len(index) == 0:
            return
        if not self._parts:
            index = torch.arange(len(walk.rows)).to(index)
        point, x, rows = walk.found.x_adv[index], walk.x[index], walk.rows[index]
        self._threat.project_(point, x)
        wrong = walk.loss.take(index).wrong(point)
        if walk.trusting:  # a denied candidate must not displace later ones
            walk.found.distance[index[~wrong]] = torch.inf
        distance = torch.where(wrong, self._threat.size(point.double() - x), torch.inf)
        self.inside.take_over_rows_(rows, Nearest(point, distance))
        if self._record is not None:
            self._record.note(rows[wrong], self._taken + step)
        if self._stop:
            self._settled[rows] |= wrong
