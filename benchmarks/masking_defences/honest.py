"""Networks that hide nothing, of many kinds: what an evaluation must not call unreliable."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from benchmarks.masking_defences import networks
from benchmarks.masking_defences.adaptive import Adaptive
from benchmarks.masking_defences.defences import Construction
from benchmarks.masking_defences.networks import TRAININGS, Data
from benchmarks.masking_defences.operations import Function

TRAINED_FOR = {"plain": 0.0, "adversarial": 0.25, "noise": 0.12}
LADDERS = {"linf": [0.02 * 1.3**n for n in range(13)], "l2": [0.12 * 1.3**n for n in range(13)]}
LEFT = {"plain": 0.3, "adversarial": 0.5, "noise": 0.4}
"""The share of images that the eps of a network leaves at most, by the adaptive attack in short."""


@final
@dataclass(frozen=True, slots=True)
class Honest:
    """A network by its architecture, training, norm and seed; its eps is found."""

    architecture: str
    training: str
    norm: str
    seed: int

    @property
    def name(self) -> str:
        """All of it, on one line."""
        return f"honest {self.architecture}, {self.training}, {self.norm}, seed {self.seed}"


def control(seed: int) -> tuple[Honest, ...]:
    """Every architecture with every training, the norm by turns: 51 networks."""
    pairs = itertools.product(TRAINED_FOR, ARCHITECTURES)
    return tuple(
        Honest(architecture, training, ("linf", "l2")[turn % 2], seed + turn)
        for turn, (training, architecture) in enumerate(pairs)
    )


def trained(honest: Honest, data: Data) -> nn.Module:
    """The network, trained."""
    make = ARCHITECTURES[honest.architecture]
    network = networks.initialised(lambda: make(data), honest.seed)
    perturbed = TRAININGS[honest.training](TRAINED_FOR[honest.training])
    return networks.fit(network, data, perturbed, honest.seed)


def eps_of(honest: Honest, network: nn.Module, data: Data) -> float:
    """The smallest eps of its ladder at which a short attack leaves no more than its share."""
    built = Construction(network, network, (network,))
    for eps in LADDERS[honest.norm]:
        attack = Adaptive(honest.norm, eps, steps=15, restarts=1, classes=0)
        broken = attack.broken(built, data.test_x, data.test_y, honest.seed)
        if float((~broken).float().mean()) <= LEFT[honest.training]:
            break
    return float(f"{eps:.3g}")


@final
class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + torch.as_tensor(self.inner(x))


def _normalised(data: Data, norm: Callable[[int], nn.Module]) -> nn.Module:
    layers = list(networks.convolutional(data))
    return nn.Sequential(layers[0], norm(16), *layers[1:3], norm(32), *layers[3:5], norm(32), *layers[5:])


def _pooled(data: Data, pool: Callable[[int], nn.Module]) -> nn.Module:
    channels, size = data.x.shape[1], data.x.shape[2]
    first = [nn.Conv2d(channels, 24, 3, padding=1), nn.ReLU(), pool(2), nn.Conv2d(24, 32, 3, padding=1)]
    dense = nn.Linear(32 * (size // 4) ** 2, data.classes)
    return nn.Sequential(*first, nn.ReLU(), pool(2), nn.Flatten(), dense)


def _residual(data: Data) -> nn.Module:
    layers = list(networks.convolutional(data))
    inner = [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)]
    return nn.Sequential(*layers[:4], Residual(nn.Sequential(*inner)), nn.ReLU(), *layers[4:])


def _dropout(data: Data) -> nn.Module:
    layers = list(networks.convolutional(data))
    return nn.Sequential(*layers[:4], nn.Dropout2d(0.2), *layers[4:9], nn.Dropout(0.4), *layers[9:])


def _dense(data: Data) -> nn.Module:
    pixels = data.x[0].numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 128), nn.ReLU(), nn.Linear(128, data.classes))


def _scaled(data: Data, factor: float) -> nn.Module:
    return nn.Sequential(networks.convolutional(data), Function(lambda z: factor * z))


def _softened(data: Data) -> nn.Module:
    return nn.Sequential(networks.convolutional(data), Function(lambda z: 15 * torch.tanh(z / 15)))


ARCHITECTURES: dict[str, Callable[[Data], nn.Module]] = {
    "plain ReLU": networks.convolutional,
    "BatchNorm": lambda data: _normalised(data, nn.BatchNorm2d),
    "GroupNorm": lambda data: _normalised(data, lambda width: nn.GroupNorm(4, width)),
    "dropout": _dropout,
    "GELU": lambda data: networks.convolutional(data, nn.GELU),
    "tanh": lambda data: networks.convolutional(data, nn.Tanh),
    "SiLU": lambda data: networks.convolutional(data, nn.SiLU),
    "ELU": lambda data: networks.convolutional(data, nn.ELU),
    "leaky ReLU": lambda data: networks.convolutional(data, nn.LeakyReLU),
    "max-pool": lambda data: _pooled(data, nn.MaxPool2d),
    "mean-pool": lambda data: _pooled(data, nn.AvgPool2d),
    "residual": _residual,
    "dense": _dense,
    "linear": networks.linear,
    "logits x 3": lambda data: _scaled(data, 3.0),
    "logits x 0.1": lambda data: _scaled(data, 0.1),
    "logits within 15": _softened,
}
