"""Small convolutional networks and their training in plain torch: what the defences are built over."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn

BATCH, RATE = 64, 2e-3
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
    """

    name: str
    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int

    @property
    def epochs(self) -> int:
        """As many as give some 400 steps, at least 3."""
        return max(3, 400 * BATCH // len(self.x))


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
    pattern = torch.rand(n, channels, 1, width, generator=generator).sub(0.5).sign().expand_as(x).clone()
    counts = torch.randint(0, 13, (n,), generator=generator).tolist()
    for image, count in enumerate(counts):
        drawn = torch.rand(count, 3, generator=generator).tolist()
        signs = torch.rand(count, channels, 1, 1, generator=generator).sub(0.5).sign()
        for (share, down, right), sign in zip(drawn, signs, strict=True):
            side = max(1, round((0.02 + 0.78 * share**2) ** 0.5 * height))
            top, left = round(down * (height - side)), round(right * (width - side))
            pattern[image, :, top : top + side, left : left + side] = sign
    return (x + eps * pattern).clamp(0, 1)


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
