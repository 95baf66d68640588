"""Small convolutional networks and their training in plain torch: what the defences are built over."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn

BATCH, RATE, MOST_SQUARES = 64, 2e-3, 12
Perturbation = Callable[[nn.Module, Tensor, Tensor, Generator], Tensor]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Training and test images with pixels in [0, 1].

    Attributes:
        name: what it is called in the record.
        x, y: training images, float32 (N, C, H, W), and labels, int64 (N,).
        test_x, test_y: those that are attacked.
        classes: how many.
        steps: about how many steps a training takes.
    """

    name: str
    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    steps: int = 400

    @property
    def epochs(self) -> int:
        """As many as give these steps, at least 3."""
        return max(3, self.steps * BATCH // len(self.x))


def convolutional(data: Data, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Three convolutions and two dense layers: 25,066 parameters on 8 x 8 images."""
    channels, size = data.x.shape[1], data.x.shape[2]
    side = -(-size // 4)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((channels, 16, 1), (16, 32, 2), (32, 32, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), activation()]
    layers += [nn.Flatten(), nn.Linear(32 * side * side, 64), activation(), nn.Linear(64, data.classes)]
    return nn.Sequential(*layers)


def linear(data: Data) -> nn.Sequential:
    """Logits W x + b."""
    return nn.Sequential(nn.Flatten(), nn.Linear(data.x[0].numel(), data.classes))


def initialised(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network with initial weights of this seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def fit(network: nn.Module, data: Data, perturbed: Perturbation, seed: int) -> nn.Module:
    """Train by Adam on the cross-entropy of perturbed images; the rate falls linearly to 0."""
    generator = Generator().manual_seed(seed)
    steps = data.epochs * -(-len(data.x) // BATCH)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, steps)
    network.train()
    with torch.random.fork_rng(devices=[]):  # dropout draws from torch's own generator
        torch.manual_seed(seed)
        for _ in range(data.epochs):
            order = torch.randperm(len(data.x), generator=generator)
            for at in range(0, len(order), BATCH):
                rows = order[at : at + BATCH]
                x, y = data.x[rows], data.y[rows]
                loss = nn.functional.cross_entropy(network(perturbed(network, x, y, generator)), y)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
                optimiser.step()
                schedule.step()
    network.eval()
    return network.requires_grad_(False)


def clean(_: nn.Module, x: Tensor, __: Tensor, ___: Generator) -> Tensor:
    """The images as they are."""
    return x


def noisy(_: nn.Module, x: Tensor, __: Tensor, generator: Generator, *, eps: float) -> Tensor:
    """Images x + n, n uniform in [-eps, eps], or at a corner of that box for half of the images."""
    noise = 2 * torch.rand(x.shape, generator=generator) - 1
    corner = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    return (x + eps * torch.where(corner, noise.sign(), noise)).clamp(0, 1)


def squared(_: nn.Module, x: Tensor, __: Tensor, generator: Generator, *, eps: float) -> Tensor:
    """Images x + p, p vertical stripes of -eps and eps under up to 12 squares of one sign for each channel.

    That is what Square's start and its first queries are made of (Andriushchenko et al., 1912.00049).
    """
    n, channels, height, width = x.shape
    pattern = torch.rand(n, channels, 1, width, generator=generator).sub(0.5).sign().expand_as(x)
    counts = torch.randint(0, MOST_SQUARES + 1, (n,), generator=generator)
    for number in range(MOST_SQUARES):
        share, down, right = torch.rand(3, n, generator=generator)
        side = ((0.02 + 0.78 * share**2) ** 0.5 * height).round().clamp(min=1)
        rows, columns = _window(down, side, height), _window(right, side, width)
        inside = rows[:, None, :, None] & columns[:, None, None, :] & (counts > number).view(n, 1, 1, 1)
        sign = torch.rand(n, channels, 1, 1, generator=generator).sub(0.5).sign()
        pattern = torch.where(inside, sign, pattern)
    return (x + eps * pattern).clamp(0, 1)


def _window(share: Tensor, side: Tensor, size: int) -> Tensor:
    """Places of a window of a side, at a share of the way that it can be moved: bool (N, size)."""
    first, places = (share * (size - side)).round()[:, None], torch.arange(size)
    return (places >= first) & (places < first + side[:, None])


def adversarial(
    network: nn.Module, x: Tensor, y: Tensor, generator: Generator, *, eps: float, steps: int = 3
) -> Tensor:
    """Projected gradient ascent of so many steps on the cross-entropy in the L-inf ball."""
    moved = (x + eps * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)
    for _ in range(steps):
        point = moved.requires_grad_()
        loss = nn.functional.cross_entropy(network(point), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, point)
        moved = moved.detach() + 2 * eps / steps * gradient.sign()
        moved = torch.minimum(torch.maximum(moved, x - eps), x + eps).clamp(0, 1)
    return moved.detach()


TRAININGS: dict[str, Callable[[float], Perturbation]] = {
    "plain": lambda eps: clean,
    "noise": lambda eps: functools.partial(noisy, eps=eps),
    "squares": lambda eps: functools.partial(squared, eps=eps),
    "adversarial": lambda eps: functools.partial(adversarial, eps=eps / 2),
}
"""How a base is trained, for an eps. The adversarial one is so only a little: half of eps, three steps."""
