"""Fidelity of gradients: their integral along lines between images, and steps of the logits there.

For a margin m that is continuous and differentiable almost everywhere, m(b) - m(a) is the integral of
grad m(a + t (b - a)) . (b - a) over t in [0, 1]. Where logits are discrete (one-hot, rounded, ranks) and a
weak smooth term gives them a gradient, the integral contains the smooth term alone, and attacks that follow
the gradient fail (gradient masking; Athalye et al., 1802.00420).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.losses import Classify

LINES = 32
"""Number of images from which a line to an image of another class is evaluated."""

POINTS = 16
"""Points on each line; with 8 the error of a residual network's integral exceeded TOLERANCE."""

TOLERANCE = 0.25
"""Largest deviation of the integral, as a share of the margin's difference."""

STEEP = 0.8
"""Largest share of a line's variation in two of its steps; of a straight line it is 2/16."""

FINENESS = 1024
"""Logits closer than one over this of the largest count as one value."""

ENOUGH = 16
"""Number of distinct images that are needed to count distinct logits."""


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
        """Return whether the gradient's integral misses the margin's difference by over TOLERANCE: (M,).

        The integral is taken by the midpoint rule; one that is not finite misses it.
        """
        rise = self.margin[:, -1] - self.margin[:, 0]
        return ~((self.slope.mean(1) - rise).abs() <= TOLERANCE * rise.abs())

    def stepped(self) -> Tensor:
        """Return whether two steps of a line contain over STEEP of the margin's variation: bool (M,)."""
        steps = self.margin.diff(dim=1).abs()
        return steps.topk(2, dim=1).values.sum(1) > STEEP * steps.sum(1)


def margin_lines(classify: Classify, x: Tensor, logits: Tensor) -> MarginLines:
    """The margins along lines from the first images to the next image of another class, POINTS passes each.

    Images with logits that are not finite have no line.

    Args:
        classify: images (N, C, H, W) to logits (N, K); without a gradient all slopes are 0.
        x: images (N, C, H, W).
        logits: its output for them (N, K).
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
    """The directional derivative, float64 (M,); 0 where the value does not depend on the point."""
    if not value.requires_grad:
        return torch.zeros_like(value)
    (gradient,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
    return (gradient.double() * way.double()).flatten(1).sum(1)


def repeated_logits(x: Tensor, logits: Tensor) -> tuple[int, int]:
    """The number of distinct images minus that of distinct logits (N, K), and the former: (k, n).

    Two logit vectors are equal where no entry differs by more than 1 / FINENESS of the largest. One-hot
    logits take as many values as there are classes, however many images there are.
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
    """Distinct rows (N, d) by their projection on one fixed direction, and the first index of each."""
    angles = torch.arange(rows.shape[1], dtype=torch.float64, device=rows.device) * 0.6180339887498949
    values, place = torch.unique(rows @ angles.sin(), return_inverse=True)
    first = torch.full_like(values, len(rows), dtype=torch.int64)
    order = torch.arange(len(rows), device=rows.device)
    return values, first.scatter_reduce(0, place, order, "amin")


def _pairs(classes: Tensor) -> tuple[Tensor, Tensor]:
    """The first LINES images, each with the next one in cyclic order of another class, if there is one."""
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
