"""Search for the best point of each example by iterated steps, without further work on settled examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, final

import torch
from torch import Tensor

from harden.attacks.engine.best_point import Point
from harden.attacks.engine.compaction import CUDA_STRIDE, remaining_positions
from harden.attacks.engine.loss_adapter import LossAdapter
from harden.attacks.engine.success_steps import current_record
from harden.losses import LossFunction


class StepRule(Protocol):
    """The steps of one attack, given loss and gradient, with the state of one run."""

    def move_(self, x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Move x_adv (N, C, H, W) to its next place in ball and box around x, in place."""
        ...

    def take(self, index: Tensor) -> Self:
        """The rule for the examples at index, int64 (M,), with its state of them."""
        ...


@final
class BestPointSearch:
    """A search for the worst point of each example, in one run or several.

    With `stop_early` an example on which the network errs is settled, and its image is the first error found;
    otherwise all examples take all steps, and the best point is kept. Where gradients come from a fast copy,
    an error of the copy is a candidate, and counts once the network itself errs there too:

    - With `stop_early` the network is called on each candidate, and on the last point of each run.
    - Without, it is called once on the best point of each example in a run. The few examples whose best point
      proves to be no error repeat the run, and there the network is called on each candidate.

    Args:
        loss: to be maximised.
        x: clean images (N, C, H, W), float32.
        stop_early: whether to leave settled examples out. It takes a `harden.losses.Loss`: a plain function
            of images judges no errors, and is maximised to the last step.
        gradient: whether the rules need a gradient; without it the loss alone is computed.
    """

    def __init__(self, loss: LossFunction, x: Tensor, *, stop_early: bool, gradient: bool = True) -> None:
        self._loss, self._x = LossAdapter(loss, gradient=gradient), x
        self._stop = stop_early and self._loss.judges
        self._best = Point.none(x)
        self._settled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        # Without stopping, a candidate of the fast copy may displace an error that the network has confirmed.
        self._confirmed = Point.none(x) if self._loss.on_fast_copy and not self._stop else None
        self._judged = torch.zeros_like(self._settled)  # whether the network itself has judged the best point
        self._record, self._taken = current_record(len(x)), 0
        self._stride = CUDA_STRIDE if x.is_cuda else 1

    def remaining(self, among: Tensor | None = None) -> Tensor:
        """Positions of the examples that the next run works on, of all or of those at `among`: int64 (M,)."""
        rows = torch.arange(len(self._x), device=self._x.device) if among is None else among
        return rows[~self._settled[rows]] if self._stop else rows

    def best(self, rows: Tensor) -> Point:
        """The best point so far of the examples at rows, int64 (M,)."""
        return self._best.rows(rows)

    def run(self, rows: Tensor, start: Tensor, rule: StepRule, steps: int) -> None:
        """Take so many steps from `start` (M, C, H, W), images of the examples at `rows`."""
        batch = self._batch(rows, start, rule)
        if self._confirmed is None:
            self._confirm_each_error(batch, steps)
        else:
            self._confirm_best_points(batch, steps)
        self._taken += steps
        if self._record is not None:
            self._record.total = self._taken

    def found(self) -> Tensor:
        """The best image of each example, (N, C, H, W)."""
        best = self._best
        if self._confirmed is not None:
            open_ = (~self._judged).nonzero().squeeze(1)
            if len(open_):
                best.wrong[open_] = self._loss.take(open_).exactly(best.x[open_]).wrong
                self._judged[open_] = True
            best.put_(self._confirmed.wrong & ~best.wrong, self._confirmed)
        return best.x

    def _confirm_each_error(self, batch: _Batch, steps: int) -> None:
        """Steps in which the network judges each error as it is found."""
        for step in range(1, steps + 1):
            point, gradient = batch.loss.point_and_gradient(batch.x_adv)
            self._note(batch, point)
            value = point.value
            if step % self._stride == 0:
                self._settle(batch, step)
                keep = remaining_positions(self._settled[batch.rows], len(self._x)) if self._stop else None
                if keep is not None:
                    if len(keep) == 0:
                        return
                    batch, value, gradient = batch.take(keep), value[keep], gradient[keep]
            batch.rule.move_(batch.x_adv, batch.x, value, gradient)
        self._settle(batch, steps)
        if self._confirmed is None:
            last = batch.loss.exactly(batch.x_adv)
            self._note(batch, last)
            self._mark(batch, last.wrong & ~self._settled[batch.rows], steps)
        else:
            self._note(batch, batch.loss.look(batch.x_adv))
            self._settle(batch, steps)

    def _confirm_best_points(self, batch: _Batch, steps: int) -> None:
        """Steps of a fast copy; the network judges the best points in the end."""
        first, rule = (
            batch.x_adv.clone(),
            batch.rule.take(torch.arange(len(batch.rows), device=batch.rows.device)),
        )
        for _ in range(steps):
            point, gradient = batch.loss.point_and_gradient(batch.x_adv)
            self._note(batch, point)
            batch.rule.move_(batch.x_adv, batch.x, point.value, gradient)
        self._note(batch, batch.loss.look(batch.x_adv))
        denied = self._settle(batch, steps)
        if len(denied):
            again = self._batch(batch.rows[denied], first[denied], rule.take(denied))
            self._confirm_each_error(again, steps)

    def _batch(self, rows: Tensor, start: Tensor, rule: StepRule) -> _Batch:
        if len(rows) == len(self._x):
            return _Batch(rows, self._x, start, self._loss, rule, whole=True)
        return _Batch(rows, self._x[rows], start, self._loss.take(rows), rule)

    def _note(self, batch: _Batch, point: Point) -> None:
        """Keep a point where it is better than the best so far."""
        among = ~self._settled[batch.rows] if self._stop else None
        better = self._best.take_over_(point, None if batch.whole else batch.rows, among)
        if self._confirmed is not None:
            self._judged[batch.rows] &= ~better

    def _settle(self, batch: _Batch, step: int) -> Tensor:
        """Settle the examples on whose best point the network errs; return candidates it denies, int64 (K,).

        They are positions in the batch.
        """
        new = self._best.wrong[batch.rows] & ~self._settled[batch.rows]
        if not self._loss.on_fast_copy:
            self._mark(batch, new, step)
            return batch.rows[:0]
        claimed = new.nonzero().squeeze(1)
        if len(claimed) == 0:
            return claimed
        rows = batch.rows[claimed]
        point = batch.loss.take(claimed).exactly(self._best.x[rows])
        self._best.wrong[rows] = new[claimed] = point.wrong
        if self._confirmed is not None:
            self._judged[rows] = True
            sure = point.wrong.nonzero().squeeze(1)
            self._confirmed.set_rows_(rows[sure], point.rows(sure))
        self._mark(batch, new, step)
        return claimed[~point.wrong]

    def _mark(self, batch: _Batch, new: Tensor, step: int) -> None:
        """Settle the examples at `new`, bool (M,), of a batch."""
        self._settled[batch.rows] |= new
        if self._record is not None:
            self._record.note(batch.rows[new], self._taken + step)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """The examples that still take steps in one run, at `rows` of all; `whole` if they are all in order."""

    rows: Tensor
    x: Tensor
    x_adv: Tensor
    loss: LossAdapter
    rule: StepRule
    whole: bool = False

    def take(self, keep: Tensor) -> _Batch:
        """The examples at these positions."""
        rows, x, x_adv = self.rows[keep], self.x[keep], self.x_adv[keep]
        return _Batch(rows, x, x_adv, self.loss.take(keep), self.rule.take(keep))
