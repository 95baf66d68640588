"""A walk along the decision boundary that keeps the nearest error found (1907.02044)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks.engine.best_point import Point
from harden.attacks.engine.loss_adapter import LossAdapter
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.fab.hyperplane_projection import SMALL, to_plane
from harden.errors import InputError
from harden.kernels import copy_rows_
from harden.kernels.arguments import box_inwards
from harden.losses import LossFunction
from harden.threats import Threat

CUTS = 10
"""How often a segment is cut in the end. The first cut is near the far end, and mostly falls right, so that
the error left is (1 - beta) / 2^9 of the distance, 2e-4; a tenth of a forward for each step of a hundred."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class SignedLoss:
    """A loss whose sign gives the network's errors, and whose zero set is the decision boundary.

    Args:
        adapter: of any per-example loss. A `harden.losses.Loss` judges errors itself, by the network where
            values come from a fast copy; of a plain function the sign counts.
        name: the loss's type, for messages.
    """

    adapter: LossAdapter
    name: str

    @classmethod
    def of(cls, loss: LossFunction) -> SignedLoss:
        """The loss with the verdicts that a walk along the boundary needs."""
        return cls(LossAdapter(loss), type(loss).__name__)

    def wrong(self, x: Tensor) -> Tensor:
        """Where the network errs, bool (N,)."""
        return self._errors(self.adapter.exactly(x))

    def claimed(self, x: Tensor) -> Tensor:
        """Where the network errs, bool (N,), or its fast copy where there is one."""
        return self._errors(self.adapter.look(x))

    def wrong_at_first(self, x: Tensor) -> Tensor:
        """As `wrong`, for the clean images.

        Raises:
            InputError: the loss is positive on an image on which the network does not err.
        """
        point = self.adapter.exactly(x)
        wrong = self._errors(point)
        if bool(((point.value > 0) & ~wrong).any()):
            raise InputError(
                f"{self.name}, a loss that is positive where the network does not err",
                "one whose zero is the boundary between right and wrong answers",
                "pass harden.losses.Margin(classify, y)",
            )
        return wrong

    def take(self, index: Tensor) -> SignedLoss:
        """The same for the examples at index, int64 (M,); for all where the loss is a plain function."""
        return SignedLoss(self.adapter.take(index), self.name)

    def _errors(self, point: Point) -> Tensor:
        return point.wrong if self.adapter.judges else point.value > 0


@final
@dataclass(frozen=True, slots=True)
class WalkSettings:
    """The constants of a walk's steps: alpha_max, eta and beta as documented in `harden.attacks.FAB`."""

    alpha_max: float
    eta: float
    beta: float


@final
@dataclass(slots=True, eq=False)
class BoundaryWalk:
    """One run of the examples that still take steps.

    Attributes:
        rows: their positions among all, int64 (M,).
        x: clean images (M, C, H, W).
        at: the run's current point, in the box.
        loss: of these examples.
        threat: owns norm and box.
        found: the nearest points of this run.
        trusting: whether a fast copy's verdicts are enough, since the network confirms them later.
    """

    rows: Tensor
    x: Tensor
    at: Tensor
    loss: SignedLoss
    threat: Threat
    found: Nearest
    trusting: bool = False

    def start_(self, direction: Tensor, distance: Tensor) -> None:
        """Start at a distance from x, float64 (M,), along a direction (M, C, H, W) of any length but zero."""
        share = distance / self.threat.size(direction).clamp_min(SMALL)
        self.at = self._between(self.x + direction, share)

    def step_(self, settings: WalkSettings) -> None:
        """Step a little beyond the linearised boundary, and part of the way back where the network errs."""
        self.at = self._in_box(self._beyond(settings))
        wrong = self._note(self.at, self.found)
        copy_rows_(self.at, self._between(self.at, settings.beta), wrong)

    def refine_(self, settings: WalkSettings) -> None:
        """Bisect the segment from each image to its nearest point; the first cut is at beta."""
        ends = self.found.x_adv.clone()
        right = torch.zeros_like(self.found.distance)
        wrong, cut = torch.ones_like(right), torch.full_like(right, settings.beta)
        for _ in range(CUTS):
            errs = self._note(self._between(ends, cut), self.found)
            wrong, right = torch.where(errs, cut, wrong), torch.where(errs, right, cut)
            cut = (right + wrong) / 2

    def take(self, keep: Tensor) -> BoundaryWalk:
        """The examples at these positions."""
        return BoundaryWalk(
            self.rows[keep],
            self.x[keep],
            self.at[keep],
            self.loss.take(keep),
            self.threat,
            self.found.rows(keep),
            self.trusting,
        )

    def _beyond(self, settings: WalkSettings) -> Tensor:
        """(1 - a) (x_i + eta d_i) + a (x + eta d), d_i and d the shortest steps from x_i and x: (M, n)."""
        point, gradient = self.loss.adapter.point_and_gradient(self.at)
        both = torch.stack((self.at.flatten(1), self.x.flatten(1)))
        normal = gradient.flatten(1).to(both.dtype)
        here = -point.value.double()
        apart = (both[1].double() - both[0]).mul_(normal.nan_to_num(0.0, 0.0, 0.0)).sum(1)
        gap = torch.stack((here, here - apart))
        ways = to_plane(self.threat.name, both, normal, gap, box_inwards(*self.threat.bounds))
        lengths = self.threat.size(ways[0]), self.threat.size(ways[1])
        share = (lengths[0] / (lengths[0] + lengths[1])).nan_to_num(1.0).clamp_max(settings.alpha_max)
        both.add_(ways, alpha=settings.eta)
        return both[0].lerp(both[1], share.to(both.dtype).unsqueeze(1))

    def _note(self, point: Tensor, found: Nearest) -> Tensor:
        """Keep points on which the network errs if they are nearer; return where it errs, bool (M,)."""
        distance = self.threat.size(point.double() - self.x)
        if not self.loss.adapter.on_fast_copy:
            wrong = self.loss.wrong(point)
        else:
            wrong = self.loss.claimed(point)
            if not self.trusting:  # the network confirms candidates nearer than found
                nearer = (wrong & (distance < found.distance)).nonzero().squeeze(1)
                if len(nearer):
                    wrong[nearer] = self.loss.take(nearer).wrong(point[nearer])
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
