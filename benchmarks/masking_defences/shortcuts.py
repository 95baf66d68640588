"""Small terms that are added to the logits and lend them a gradient: mostly a wrong one.

Each is of images and of the logits inside, (N, C, H, W) and (N, K) to (N, K). The strength is the standard
deviation of a class's term over the training images: too small to change more than a few answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Generator, Tensor, nn

from benchmarks.masking_defences import networks, operations
from benchmarks.masking_defences.networks import Data, clean

STRENGTH = 0.01
SIZES = {"decoy": 10.0, "strong decoy": 100.0}
Shortcut = Callable[[Tensor, Tensor], Tensor]


@final
class Standardised(nn.Module):
    """A network's outputs, shifted and scaled to mean 0 and a standard deviation over the training images."""

    mean: Tensor
    factor: Tensor

    def __init__(self, network: nn.Module, data: Data, size: float) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            values = network(data.x[:1000])
        self.register_buffer("mean", values.mean(0))
        self.register_buffer("factor", size / values.std())

    def forward(self, x: Tensor) -> Tensor:
        """(f(x) - mean) * size / std."""
        shifted: Tensor = self.network(x) - self.mean
        return shifted * self.factor


@final
class Additive(nn.Module):
    """A shortcut that uses the images alone."""

    def __init__(self, part: nn.Module, wave: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.part, self.wave = part, wave

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        """wave(part(x))."""
        return self.wave(self.part(x))


@final
class Reversed(nn.Module):
    """A term whose value is 0 and whose gradient is that of the logits inside, reversed."""

    def forward(self, _: Tensor, z: Tensor) -> Tensor:
        """STRENGTH (stop(z) - z)."""
        return STRENGTH * (z.detach() - z)


@final
class Decoy(nn.Module):
    """A term whose value is 0 and whose gradient is large along directions in which the images hardly vary.

    d_k(x) = size (u_k . x - stop(u_k . x)), u_k a random unit vector in the span of that quarter of the
    training images' principal components that varies least: along a line between two images its slope is
    nearly 0.
    """

    directions: Tensor

    def __init__(self, data: Data, seed: int, size: float) -> None:
        super().__init__()
        x = data.x[:2000].flatten(1).double()
        components = torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, : x.shape[1] // 4]
        mixed = torch.randn(
            components.shape[1], data.classes, generator=Generator().manual_seed(seed), dtype=torch.float64
        )
        directions = nn.functional.normalize(components @ mixed, dim=0)
        self.register_buffer("directions", (size * directions).float())

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        """(N, K)."""
        value = x.flatten(1) @ self.directions
        return value - value.detach()


@final
class Hashed(nn.Module):
    """A shortcut plus noise without a gradient, by the image alone: scores hardly inform a search."""

    def __init__(self, inner: nn.Module, classes: int, size: float = 0.3) -> None:
        super().__init__()
        self.inner, self.classes, self.size = inner, classes, size

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """The shortcut + size (2 h_k(x) - 1), h_k in [0, 1) a hash of all pixels and of the class."""
        place = torch.arange(x[0].numel(), device=x.device)
        pixels = (x.detach().flatten(1) * (1 << 22)).long()
        # Whole numbers: the same in any order of summation and in any batch.
        image = operations.mixed(pixels + place * 7919).sum(1, keepdim=True)
        unit = operations.mixed(image + torch.arange(self.classes, device=x.device) * 104729)
        noise = (unit & 0xFFFFFF).to(z) / (1 << 24)
        answer: Tensor = self.inner(x, z)
        return answer + self.size * (2 * noise - 1)


def sawtooth(u: Tensor, height: float = 0.05, frequency: float = 400.0) -> Tensor:
    """The value height frac(frequency u): small values, and everywhere the gradient height * frequency."""
    return height * (frequency * u - torch.floor(frequency * u))


def sine(u: Tensor, height: float = 0.02, frequency: float = 1000.0) -> Tensor:
    """The value height sin(frequency u): small values, and a gradient that changes sign a thousand times."""
    return height * torch.sin(frequency * u)


def zero(u: Tensor) -> Tensor:
    """Nothing, with a path for a gradient that is nothing."""
    return 0.0 * u


def shortcut(name: str, data: Data, seed: int) -> nn.Module | None:
    """The shortcut of this name, trained where it is; None for none."""
    if name == "none":
        return None
    if name in SIZES:
        return Decoy(data, seed + 3000, SIZES[name])
    if name.startswith("hashed "):
        inner = shortcut(name.removeprefix("hashed "), data, seed)
        return None if inner is None else Hashed(inner, data.classes)
    if name == "reversed":
        return Reversed()
    weights = networks.initialised(lambda: networks.linear(data), seed + 1000)
    wave = {"sawtooth": sawtooth, "sine": sine, "zero": zero}.get(name)
    if name == "network":
        other = networks.initialised(lambda: networks.convolutional(data), seed + 2000)
        part = networks.fit(other, data, clean, seed + 2000)
    elif name == "random":
        part = weights.requires_grad_(False)
    else:
        part = networks.fit(weights, data, clean, seed + 1000)
    size = STRENGTH if wave is None else 1.0
    # The wrong ones: where these logits rise, a network that was trained answers otherwise.
    sign = 1.0 if name in ("linear", "network", "random") else -1.0
    return Additive(Standardised(part, data, sign * size), wave or (lambda u: u))
