"""The adaptive attack: gradient ascent on the smooth networks inside, judged by the defended one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn

from benchmarks.masking_defences.defences import Construction

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of logits (N, K), labels (N,) and classes that are aimed at (N,), to (N,)."""

INSIDE = 1 - 1e-6
"""The ball that the attack uses, over eps: rounding must not take a point out of it."""


def cross_entropy(z: Tensor, y: Tensor, _: Tensor) -> Tensor:
    """-log p_y."""
    return nn.functional.cross_entropy(z, y, reduction="none")


def margin(z: Tensor, y: Tensor, _: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y."""
    own = nn.functional.one_hot(y, z.shape[1]).bool()
    return z.masked_fill(own, -torch.inf).amax(1) - z[own]


def difference(z: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """z_t - z_y."""
    return (z.gather(1, target[:, None]) - z.gather(1, y[:, None])).flatten()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Aim:
    """A loss of a smooth network for some images."""

    smooth: nn.Module
    loss: Loss
    y: Tensor
    target: Tensor

    def gradient(self, x: Tensor) -> Tensor:
        """Its gradient at images (N, C, H, W), NaN taken for 0."""
        point = x.detach().clone().requires_grad_()
        value = self.loss(self.smooth(point), self.y, self.target).sum()
        (found,) = torch.autograd.grad(value, point)
        return found.nan_to_num()


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
        found = _errs(built.network, x, y)
        generator = Generator().manual_seed(seed)
        for smooth in built.smooth:
            for loss, target in self._losses(smooth, x, y):
                for restart in range(self.restarts):
                    rows = (~found).nonzero().flatten()
                    if not len(rows):
                        return found
                    noise = self.eps * (2 * torch.rand(x[rows].shape, generator=generator) - 1)
                    start = self._projected(x[rows] + noise, x[rows]) if restart else x[rows]
                    aim = _Aim(smooth, loss, y[rows], target[rows])
                    for point in self._ascent(aim, x[rows], start):
                        found[rows] |= _errs(built.network, point, y[rows])
        return found

    def _losses(self, smooth: nn.Module, x: Tensor, y: Tensor) -> list[tuple[Loss, Tensor]]:
        with torch.no_grad():
            z = smooth(x)
        others = z.scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)
        classes = min(self.classes, z.shape[1] - 1)
        aimed = [(difference, others[:, rank]) for rank in range(classes)]
        return [(cross_entropy, y), (margin, y), *aimed]

    def _ascent(self, aim: _Aim, x: Tensor, start: Tensor) -> Iterator[Tensor]:
        moved, velocity = start, torch.zeros_like(x)
        for step in range(self.steps):
            gradient = aim.gradient(moved)
            velocity = 0.75 * velocity + gradient / _column(gradient.flatten(1).abs().mean(1))
            size = self.eps / 2 * (1 - step / self.steps)
            moved = self._projected(moved + size * self._direction(velocity), x)
            yield moved

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.norm == "linf" else gradient / _column(gradient.flatten(1).norm(dim=1))

    def _projected(self, moved: Tensor, x: Tensor) -> Tensor:
        radius = self.eps * INSIDE
        if self.norm == "linf":
            return torch.minimum(torch.maximum(moved, x - radius), x + radius).clamp(0, 1)
        away = moved.clamp(0, 1) - x
        return x + away * (radius / _column(away.flatten(1).norm(dim=1))).clamp(max=1.0)


@torch.no_grad()
def _errs(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    answers: Tensor = network(x)
    return answers.argmax(1) != y


def _column(lengths: Tensor) -> Tensor:
    """Lengths (N,) that can divide images (N, C, H, W)."""
    return lengths.clamp(min=1e-12).view(-1, 1, 1, 1)
