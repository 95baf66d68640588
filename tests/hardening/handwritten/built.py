"""How a network of the table is written down: its parts, its forward, and what is to become of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 3
Forward = Callable[[Any, Tensor], Any]


@dataclass(frozen=True)
class Entry:
    """A network as people write it.

    Args:
        make: builds it.
        channels: of its images.
        size: of its images.
        output: which part of what it returns are the logits.
        head: its head's name, where that is not found.
        refused: the text with which it is refused before training; "" for one that must be exported.
    """

    make: Callable[[], nn.Module]
    channels: int = 3
    size: int = 8
    output: str | int | None = None
    head: str | None = None
    refused: str = ""


class Built(nn.Module):
    """Parts, and a forward on them."""

    def __init__(self, forward: Forward, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.how = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.how(self, x)


def built(forward: Forward, **parts: nn.Module) -> Callable[[], nn.Module]:
    """A network of parts, which are copied and drawn anew each time it is made."""

    def make() -> nn.Module:
        return drawn(Built(forward, copy.deepcopy(parts)))

    return make


def drawn(network: nn.Module) -> nn.Module:
    """The network with weights from torch's random state of the moment."""
    for part in network.modules():
        if callable(draw := getattr(part, "reset_parameters", None)):
            draw()
    return network


def conv(inputs: int = 3, outputs: int = 4, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups)


def fc(inputs: int, outputs: int = CLASSES) -> nn.Linear:
    return nn.Linear(inputs, outputs)


class Body(nn.Module):
    """Convolution, pool, two linear layers, with a place for what subclasses do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hidden, self.head = conv(stride=2), fc(64, 8), fc(8)

    def forward(self, x: Tensor) -> Any:
        return self.head(torch.relu(self.hidden(self.step(torch.relu(self.conv(x))).flatten(1))))

    def step(self, x: Tensor) -> Any:
        return x


def stem(step: Callable[[Tensor], Any] | nn.Module, features: int) -> Callable[[], nn.Module]:
    """Convolution, something, a linear layer."""

    parts: dict[str, nn.Module] = {"conv": conv(), "fc": fc(features)}
    if isinstance(step, nn.Module):
        parts["step"] = step

    def forward(net: Any, x: Tensor) -> Any:
        does = net.step if "step" in parts else step
        out: Tensor = net.fc(does(net.conv(x)).flatten(1))
        return out

    return built(forward, **parts)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))
