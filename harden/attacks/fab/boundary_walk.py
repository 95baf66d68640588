"""A walk along the boundary of right answers, and the nearest point that was found on it (1907.02044)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks.engine.loss_adapter import Watched
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.fab.hyperplane_projection import SMALL, to_plane
from harden.errors import InputError
from harden.kernels import copy_rows_
from harden.kernels.arguments import box_inwards
from harden.losses import JudgedLoss, Loss, LossFunction
from harden.threats import Threat

CUTS = 10
"""How often a segment is cut in the end. The first cut is near the far end, and mostly falls right, so that
the error left is (1 - beta) / 2^9 of the distance, 2e-4; a tenth of a forward for each step of a hundred."""


@final
class Signed:
    """A loss whose sign says where the network errs, and whose zero set is the boundary.

    Args:
        loss: any per-example loss. Of one that tells errors (`judged`) its word counts, by the network itself
            where a fast copy steers; of any other its sign.
    """

    def __init__(self, loss: LossFunction) -> None:
        self._loss, self._told = loss, isinstance(loss, JudgedLoss)
        self.watched = Watched(loss)

    def wrong(self, x: Tensor) -> Tensor:
        """Where the network errs, bool (N,)."""
        point = self.watched.exactly(x)
        return point.wrong if self._told else point.value > 0

    def claimed(self, x: Tensor) -> Tensor:
        """Where the network errs, by a fast copy's word where one steers, bool (N,)."""
        point = self.watched.look(x)
        return point.wrong if self._told else point.value > 0

    def wrong_at_first(self, x: Tensor) -> Tensor:
        """As `wrong`, for the first look at all images.

        Raises:
            InputError: the loss is positive on an image on which the network does not err.
        """
        point = self.watched.exactly(x)
        wrong = point.wrong if self._told else point.value > 0
        if bool(((point.value > 0) & ~wrong).any()):
            raise InputError(
                f"{type(self._loss).__name__}, a loss that is positive where the network does not err",
                "one whose zero is the boundary between right and wrong answers",
                "pass harden.losses.Margin(classify, y)",
            )
        return wrong

    def take(self, index: Tensor) -> Signed:
        """The same for the examples at index, int64 (M,); for all of them where the loss can't be parted."""
        if not self.watched.stoppable or not isinstance(self._loss, Loss):
            return self
        return Signed(self._loss.take(index))


@final
@dataclass(frozen=True, slots=True)
class Pace:
    """How a walk moves: alpha_max, eta and beta of `harden.attacks.FAB`, which explains them."""

    alpha_max: float
    eta: float
    beta: float


@final
@dataclass(slots=True, eq=False)
class Walk:
    """One run, of the examples that it still looks at.

    Attributes:
        rows: their positions among all, int64 (M,).
        x: clean images (M, C, H, W).
        at: where the run stands, in the box.
        loss: of these examples.
        threat: owns norm and box.
        found: the nearest points of this run.
        trusting: whether a fast copy's word is enough for these, since the network is asked later.
    """

    rows: Tensor
    x: Tensor
    at: Tensor
    loss: Signed
    threat: Threat
    found: Nearest
    trusting: bool = False

    def start_(self, direction: Tensor, distance: Tensor) -> None:
        """Go from x so far, float64 (M,), along a direction (M, C, H, W) of any length but zero."""
        share = distance / self.threat.size(direction).clamp_min(SMALL)
        self.at = self._between(self.x + direction, share)

    def step_(self, pace: Pace) -> None:
        """Go a little beyond the boundary as the loss looks from here, and back a part where that was it."""
        self.at = self._in_box(self._beyond(pace))
        wrong = self._note(self.at, self.found)
        copy_rows_(self.at, self._between(self.at, pace.beta), wrong)

    def refine_(self, pace: Pace) -> None:
        """Cut the segment from each image to its nearest point, in halves but for the first time."""
        ends = self.found.x_adv.clone()
        right = torch.zeros_like(self.found.distance)
        wrong, cut = torch.ones_like(right), torch.full_like(right, pace.beta)
        for _ in range(CUTS):
            errs = self._note(self._between(ends, cut), self.found)
            wrong, right = torch.where(errs, cut, wrong), torch.where(errs, right, cut)
            cut = (right + wrong) / 2

    def take(self, keep: Tensor) -> Walk:
        """The examples at these positions."""
        return Walk(
            self.rows[keep],
            self.x[keep],
            self.at[keep],
            self.loss.take(keep),
            self.threat,
            self.found.rows(keep),
            self.trusting,
        )

    def _beyond(self, pace: Pace) -> Tensor:
        """(1 - a) (x_i + eta d_i) + a (x + eta d), d_i and d the shortest ways from x_i and x: (M, n)."""
        point, gradient = self.loss.watched.climb(self.at)
        both = torch.stack((self.at.flatten(1), self.x.flatten(1)))
        normal = gradient.flatten(1).to(both.dtype)
        here = -point.value.double()
        apart = (both[1].double() - both[0]).mul_(normal.nan_to_num(0.0, 0.0, 0.0)).sum(1)
        gap = torch.stack((here, here - apart))
        ways = to_plane(self.threat.name, both, normal, gap, box_inwards(*self.threat.bounds))
        lengths = self.threat.size(ways[0]), self.threat.size(ways[1])
        share = (lengths[0] / (lengths[0] + lengths[1])).nan_to_num(1.0).clamp_max(pace.alpha_max)
        both.add_(ways, alpha=pace.eta)
        return both[0].lerp(both[1], share.to(both.dtype).unsqueeze(1))

    def _note(self, point: Tensor, found: Nearest) -> Tensor:
        """Remember where the network errs, and say where that is, bool (M,)."""
        distance = self.threat.size(point.double() - self.x)
        if not self.loss.watched.steered:
            wrong = self.loss.wrong(point)
        else:
            wrong = self.loss.claimed(point)
            if not self.trusting:  # the network itself is asked where its answer counts: about nearest claims
                asked = (wrong & (distance < found.distance)).nonzero().squeeze(1)
                if len(asked):
                    wrong[asked] = self.loss.take(asked).wrong(point[asked])
        found.take_over_(point, distance, wrong)
        return wrong

    def _between(self, end: Tensor, share: Tensor | float) -> Tensor:
        """Give x + share (end - x), with one share or one for each example (M,)."""
        if isinstance(share, Tensor):
            share = share.to(end.dtype).view(-1, *[1] * (end.dim() - 1))
        return self._in_box(self.x + share * (end - self.x))

    def _in_box(self, point: Tensor) -> Tensor:
        """The point in the box, in the images' shape and layout."""
        low, high = box_inwards(*self.threat.bounds)
        return torch.clamp(point.view(self.x.shape), low, high, out=torch.empty_like(self.x))
