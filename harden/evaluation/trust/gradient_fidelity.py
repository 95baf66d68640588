"""How much of the logits' change between images their gradient explains, and in how large steps it happens.

For a margin m that is continuous and differentiable almost everywhere, m(b) - m(a) is the integral of
grad m(a + t (b - a)) . (b - a) over t in [0, 1]. Where logits are hard (one-hot, rounded, ranks) and a weak
smooth term lends them a gradient, the integral holds the smooth term alone, and attacks that follow the
gradient look robust away (Athalye et al., 1802.00420, call it gradient masking).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.losses import Classify

LINES = 32
"""Images from which a line to an image of another class is looked at."""

POINTS = 16
"""Points on each line; at 8 a residual network's integral was already wrong by more than TOLERANCE."""

TOLERANCE = 0.25
"""By what share of the margin's difference its integral may differ from it."""

STEEP = 0.8
"""What share of a line's variation two of its steps may hold; of a straight line they hold 2/16."""

FINENESS = 1024
"""Logits that are nearer than this part of the largest are taken for one value."""

ENOUGH = 16
"""So many different images are needed to tell how many different logits there are."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class MarginLines:
    """A margin along straight lines between images that are classified differently.

    Attributes:
        margin: z_j - z_i at the line's ends and between, with i the class at its start and j that at its end,
            float64 (M, 2 + POINTS).
        slope: its derivative along the line at the points between, float64 (M, POINTS).
    """

    margin: Tensor
    slope: Tensor

    def __len__(self) -> int:
        return len(self.margin)

    def unexplained(self) -> Tensor:
        """Whether the integral of the gradient misses the margin's difference by more than TOLERANCE: (M,).

        The integral is taken by the midpoint rule; one that is not finite misses it.
        """
        rise = self.margin[:, -1] - self.margin[:, 0]
        return ~((self.slope.mean(1) - rise).abs() <= TOLERANCE * rise.abs())

    def stepped(self) -> Tensor:
        """Whether two steps of the line hold more than STEEP of the margin's total variation: bool (M,)."""
        steps = self.margin.diff(dim=1).abs()
        return steps.topk(2, dim=1).values.sum(1) > STEEP * steps.sum(1)


def lines(classify: Classify, x: Tensor, logits: Tensor) -> MarginLines:
    """The margins along lines from the first images to the next image of another class, POINTS passes each.

    Images with logits that are not finite have no line.

    Args:
        classify: images (N, C, H, W) to logits (N, K); without a gradient all slopes are 0.
        x: images (N, C, H, W).
        logits: what it answers to them (N, K).
    """
    # Tensors made in inference mode take no part in a gradient; their copies outside do.
    with torch.inference_mode(mode=False), torch.enable_grad():
        x, logits = x.detach().clone(), logits.detach().clone()
        finite = logits.isfinite().all(1).nonzero().squeeze(1)
        start, end = (finite[part] for part in _pairs(logits[finite].argmax(1)))
        if len(start) == 0:
            empty = x.new_zeros(0, POINTS + 2, dtype=torch.float64)
            return MarginLines(empty, empty[:, :POINTS])
        own, other = logits[start].argmax(1), logits[end].argmax(1)
        way, slopes, margins = x[end] - x[start], [], [_margin(logits[start], other, own)]
        for place in range(POINTS):
            point = (x[start] + (place + 0.5) / POINTS * way).requires_grad_()
            value = _margin(classify(point), other, own)
            margins.append(value.detach())
            slopes.append(_slope(value, point, way))
        margins.append(_margin(logits[end], other, own))
    return MarginLines(torch.stack(margins, 1), torch.stack(slopes, 1))


def _margin(z: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """z_one - z_other, float64 (M,)."""
    return (z.gather(1, one.unsqueeze(1)) - z.gather(1, other.unsqueeze(1))).squeeze(1).double()


def _slope(value: Tensor, point: Tensor, way: Tensor) -> Tensor:
    """The derivative along the way, float64 (M,); 0 where no path leads to the point."""
    if not value.requires_grad:
        return torch.zeros_like(value)
    (gradient,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
    return (gradient.double() * way.double()).flatten(1).sum(1)


def repeated(x: Tensor, logits: Tensor) -> tuple[int, int]:
    """How many different images have logits (N, K) that another has too, but for one; of how many: (k, n).

    Two are the same where no logit differs by more than 1 / FINENESS of the largest. One-hot logits take as
    many values as there are classes, however many images there are.
    """
    _, first = _firsts(x.flatten(1).double())
    n = len(first)
    finite = logits[first].double()
    largest = finite[finite.isfinite()].abs()
    if n < ENOUGH or len(largest) == 0:
        return 0, n
    unit = float(largest.max()) / FINENESS
    cells = (finite / unit).round().nan_to_num() if unit > 0 else torch.zeros_like(finite)
    return n - len(torch.unique(cells, dim=0)), n


def _firsts(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Different rows (N, d) by their projection on one fixed direction, and where each is first seen."""
    angles = torch.arange(rows.shape[1], dtype=torch.float64, device=rows.device) * 0.6180339887498949
    values, place = torch.unique(rows @ angles.sin(), return_inverse=True)
    first = torch.full_like(values, len(rows), dtype=torch.int64)
    order = torch.arange(len(rows), device=rows.device)
    return values, first.scatter_reduce(0, place, order, "amin")


def _pairs(classes: Tensor) -> tuple[Tensor, Tensor]:
    """The first LINES images, and for each the next in cyclic order of another class; none without one."""
    n = len(classes)
    few = min(n, LINES)
    order = (
        torch.arange(few, device=classes.device).unsqueeze(1) + torch.arange(n, device=classes.device)
    ) % max(n, 1)
    differs = classes[order] != classes[:few].unsqueeze(1)
    start = differs.any(1).nonzero().squeeze(1)
    if len(start) == 0:
        return start, start
    return start, order[start, differs[start].long().argmax(1)]
