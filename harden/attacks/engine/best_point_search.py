"""What iterated attacks share: climb, remember the best point of each example, leave settled ones alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, final

import torch
from torch import Tensor

from harden.attacks.engine.best_point import Point
from harden.attacks.engine.compaction import CUDA_STRIDE, going_on
from harden.attacks.engine.loss_adapter import Watched
from harden.attacks.engine.success_steps import current_record
from harden.losses import LossFunction


class Rule(Protocol):
    """How an attack moves, given loss and gradient: the state of one run."""

    def move_(self, x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Move x_adv (N, C, H, W) to its next place in ball and box around x, in place."""
        ...

    def take(self, index: Tensor) -> Self:
        """The rule for the examples at index, int64 (M,), with what it remembers of them."""
        ...


@final
class Search:
    """A search for the worst point of each example, in one run or several.

    With `stop_early` an example on which the network errs is settled, and its image is the first witness
    found; otherwise all go on, and the best point is kept. Where the loss is steered by a fast copy, an error
    counts once the network itself makes it. Who stops asks the network at each claim and about the last point
    of each run; who goes on asks once about the best point of a run, and climbs again, asking at each claim,
    with the few examples whose best point turns out to be no error.

    Args:
        loss: to be maximised; the search can stop early where it tells errors and can be restricted.
        x: clean images (N, C, H, W), float32.
        stop_early: whether to leave settled examples alone.
        gradient: whether rules want one; without it the loss alone is asked for.
    """

    def __init__(self, loss: LossFunction, x: Tensor, *, stop_early: bool, gradient: bool = True) -> None:
        self._loss, self._x = Watched(loss), x
        self._stop, self._gradient = stop_early and self._loss.stoppable, gradient
        self._best = Point.none(x)
        self._settled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        # Without stopping, what the fast copy thinks best may take the place of a witness that is certain.
        self._certain = Point.none(x) if self._loss.steered and not self._stop else None
        self._shown = torch.zeros_like(self._settled)  # whose best point the network itself has judged
        self._record, self._taken = current_record(len(x)), 0
        self._stride = CUDA_STRIDE if x.is_cuda else 1

    def standing(self) -> Tensor:
        """Positions of the examples that the next run has to look at, int64 (M,)."""
        return (
            (~self._settled).nonzero().squeeze(1)
            if self._stop
            else torch.arange(len(self._x)).to(self._x.device)
        )

    def run(self, rows: Tensor, start: Tensor, rule: Rule, steps: int) -> None:
        """Climb so many steps from `start` (M, C, H, W), images of the examples at `rows`."""
        if self._certain is None:
            self._climb(self._at(rows, start, rule), steps)
        else:
            self._climb_all(rows, start, rule, steps)
        self._taken += steps
        if self._record is not None:
            self._record.total = self._taken

    def _climb_all(self, rows: Tensor, start: Tensor, rule: Rule, steps: int) -> None:
        """Climb with all examples, ask the network in the end, and climb again with those it denies."""
        every = torch.arange(len(rows), device=rows.device)
        first, again = start.clone(), rule.take(every)
        at = self._at(rows, start, rule)
        for _ in range(steps):
            point, gradient = self._point(at)
            self._note(at, point)
            at.rule.move_(at.x_adv, at.x, point.value, gradient)
        self._note(at, at.loss.look(at.x_adv))
        mistaken = self._show(at, steps)
        self._write_back(at)
        if len(mistaken):
            self._shown[rows[mistaken]] = False
            self._climb(self._at(rows[mistaken], first[mistaken], again.take(mistaken)), steps)

    def _note(self, at: _Run, point: Point) -> None:
        """Remember a point where it is better; the network has not seen it."""
        better = at.best.take_over_(point)
        self._shown[at.rows] &= ~better

    def _show(self, at: _Run, steps: int) -> Tensor:
        """Show the best points that are claimed to be errors to the network, and say where it makes none."""
        claimed = (at.best.wrong & ~at.settled).nonzero().squeeze(1)
        self._settle(at, steps)
        self._shown[at.rows[claimed]] = True
        return claimed[~at.best.wrong[claimed]]

    def _climb(self, at: _Run, steps: int) -> None:
        """Climb, and ask the network itself at each claim."""
        for step in range(1, steps + 1):
            point, gradient = self._point(at)
            value = point.value
            at.note_(point, only_standing=self._stop)
            if step % self._stride == 0:
                self._settle(at, step)
                keep = self._keep(at)
                if keep is not None:
                    self._write_back(at)
                    if len(keep) == 0:
                        return
                    at, value, gradient = at.take(keep), value[keep], gradient[keep]
            at.rule.move_(at.x_adv, at.x, value, gradient)
        self._settle(at, steps)
        self._end(at, steps)
        self._write_back(at)

    def stands(self, rows: Tensor) -> Tensor:
        """Which of the examples at rows, int64 (M,), the next run has to look at: bool (M,)."""
        return ~self._settled[rows] if self._stop else torch.ones_like(rows, dtype=torch.bool)

    def best(self, rows: Tensor) -> Point:
        """The best point so far of the examples at rows, int64 (M,)."""
        return self._best.rows(rows)

    def found(self) -> Tensor:
        """The best image of each example, (N, C, H, W)."""
        if self._certain is None:
            return self._best.x
        best, unseen = self._best, (~self._shown).nonzero().squeeze(1)
        if len(unseen):
            best.wrong[unseen] = self._loss.take(unseen).exactly(best.x[unseen]).wrong
            self._shown[unseen] = True
        best.put_(self._certain.wrong & ~best.wrong, self._certain)
        return best.x

    def _point(self, at: _Run) -> tuple[Point, Tensor]:
        """The point of a run with its loss, and its gradient, or zeros in its place."""
        if self._gradient:
            return at.loss.climb(at.x_adv)
        return at.loss.look(at.x_adv), at.x_adv.new_zeros(1).expand(len(at.x_adv))

    def _end(self, at: _Run, steps: int) -> None:
        """Look at the last point of a run."""
        if self._certain is None:
            last = at.loss.exactly(at.x_adv)
            at.note_(last, only_standing=self._stop)
            self._mark(at, last.wrong & ~at.settled, steps)
        else:
            # The best of all points is shown to the network itself in the end: once is enough.
            at.note_(at.loss.look(at.x_adv), only_standing=False)
            self._settle(at, steps)

    def _at(self, rows: Tensor, start: Tensor, rule: Rule) -> _Run:
        if len(rows) == len(self._x):
            return _Run(rows, self._x, start, self._loss, rule, self._best, self._settled.clone())
        settled = self._settled[rows]
        return _Run(rows, self._x[rows], start, self._loss.take(rows), rule, self._best.rows(rows), settled)

    def _settle(self, at: _Run, step: int) -> None:
        """Settle what errs; where only a fast copy says so, ask the network itself."""
        if not self._loss.steered:
            self._mark(at, at.best.wrong & ~at.settled, step)
            return
        claimed = (at.best.wrong & ~at.settled).nonzero().squeeze(1)
        if len(claimed) == 0:
            return
        point = at.loss.take(claimed).exactly(at.best.x[claimed])
        at.best.wrong[claimed] = point.wrong
        sure = point.wrong.nonzero().squeeze(1)
        new = torch.zeros_like(at.settled)
        new[claimed[sure]] = True
        self._mark(at, new, step)
        if self._certain is not None:
            self._certain.set_rows_(at.rows[claimed[sure]], point.rows(sure))

    def _mark(self, at: _Run, new: Tensor, step: int) -> None:
        """Settle the examples at `new`, bool (M,)."""
        at.settled |= new
        if self._record is not None:
            self._record.note(at.rows[new], self._taken + step)

    def _keep(self, at: _Run) -> Tensor | None:
        """Which examples of a run go on alone; None where all of them go on."""
        return going_on(at.settled, len(self._x)) if self._stop else None

    def _write_back(self, at: _Run) -> None:
        self._settled[at.rows] = at.settled
        if at.best is not self._best:
            self._best.set_rows_(at.rows, at.best)


@final
@dataclass(slots=True, eq=False)
class _Run:
    """The examples that one run still climbs with, and the best points of them so far."""

    rows: Tensor
    x: Tensor
    x_adv: Tensor
    loss: Watched
    rule: Rule
    best: Point
    settled: Tensor

    def note_(self, point: Point, *, only_standing: bool) -> None:
        """Remember a point where it is better, of the standing examples alone if so asked."""
        self.best.take_over_(point, ~self.settled if only_standing else None)

    def take(self, keep: Tensor) -> _Run:
        """The examples at these positions."""
        return _Run(
            self.rows[keep],
            self.x[keep],
            self.x_adv[keep],
            self.loss.take(keep),
            self.rule.take(keep),
            self.best.rows(keep),
            self.settled[keep],
        )
