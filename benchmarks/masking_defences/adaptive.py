"""The adaptive attack: gradient ascent on the smooth networks inside, judged by the defended one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn

from benchmarks.masking_defences.defences import Construction

Loss = Callable[[Tensor, Tensor], Tensor]
INSIDE = 1 - 1e-6
"""The ball that the attack uses, over eps: rounding must not take a point out of it."""


def cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    """-log p_y, for each image."""
    return nn.functional.cross_entropy(z, y, reduction="none")


def margin(z: Tensor, y: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y, for each image."""
    own = torch.nn.functional.one_hot(y, z.shape[1]).bool()
    return z.masked_fill(own, -torch.inf).amax(1) - z[own]


@final
@dataclass(frozen=True, slots=True)
class Adaptive:
    """Projected gradient ascent with momentum on each smooth network and loss, every point judged.

    Losses are the cross-entropy, the margin, and the difference to each of the likeliest other classes. The
    step falls linearly from eps / 2 to 0. In L-inf it goes along the sign, in L2 along the direction.

    Args:
        norm: linf or l2.
        eps: the radius.
        steps: of each ascent.
        restarts: ascents of each loss, the first one from the image itself.
        classes: how many other classes are aimed at.
    """

    norm: str
    eps: float
    steps: int = 50
    restarts: int = 2
    classes: int = 4

    def broken(self, built: Construction, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Where the defended network errs on a point of the ball, or on the image: bool (N,)."""
        with torch.no_grad():
            found = built.network(x).argmax(1) != y
        generator = Generator().manual_seed(seed)
        for smooth in built.smooth:
            for loss in self._losses(smooth, x, y):
                for restart in range(self.restarts):
                    rows = (~found).nonzero().flatten()
                    if not len(rows):
                        return found
                    found[rows] |= self._ascent(built.network, smooth, loss, (x, y, rows), restart, generator)
        return found

    def _losses(
        self, smooth: nn.Module, x: Tensor, y: Tensor
    ) -> Iterator[Callable[[Tensor, Tensor], Tensor]]:
        yield lambda z, rows: cross_entropy(z, y[rows])
        yield lambda z, rows: margin(z, y[rows])
        with torch.no_grad():
            z = smooth(x)
        others = z.scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)
        for rank in range(min(self.classes, z.shape[1] - 1)):
            target = others[:, rank]
            yield lambda z, rows, target=target: (
                z.gather(1, target[rows, None]) - z.gather(1, y[rows, None])
            ).flatten()

    def _ascent(
        self,
        judge: nn.Module,
        smooth: nn.Module,
        loss: Loss,
        images: tuple[Tensor, Tensor, Tensor],
        restart: int,
        generator: Generator,
    ) -> Tensor:
        x, y, rows = images[0][images[2]], images[1][images[2]], images[2]
        moved = x.clone()
        if restart:
            moved = self._projected(x + self.eps * (2 * torch.rand(x.shape, generator=generator) - 1), x)
        found, velocity = torch.zeros(len(x), dtype=torch.bool), torch.zeros_like(x)
        for step in range(self.steps):
            point = moved.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(smooth(point), rows).sum(), point)
            gradient = gradient.nan_to_num()
            velocity = 0.75 * velocity + gradient / gradient.flatten(1).abs().mean(1).clamp(min=1e-12).view(
                -1, 1, 1, 1
            )
            size = self.eps / 2 * (1 - step / self.steps)
            moved = self._projected(moved.detach() + size * self._direction(velocity), x)
            with torch.no_grad():
                found |= judge(moved).argmax(1) != y
        return found

    def _direction(self, gradient: Tensor) -> Tensor:
        if self.norm == "linf":
            return gradient.sign()
        return gradient / gradient.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)

    def _projected(self, moved: Tensor, x: Tensor) -> Tensor:
        radius = self.eps * INSIDE
        if self.norm == "linf":
            return torch.minimum(torch.maximum(moved, x - radius), x + radius).clamp(0, 1)
        away = moved.clamp(0, 1) - x
        length = away.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
        return x + away * (radius / length).clamp(max=1.0)
