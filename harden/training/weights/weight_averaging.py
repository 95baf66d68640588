"""The exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn


@final
class WeightAverage:
    """Moving average s <- d s + (1 - d) w after each step, d = min(decay, (1 + t) / (10 + t)).

    The decay rises with the steps t, for short runs. Floating-point buffers (BatchNorm statistics) are
    averaged too, other buffers copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = weights_of(module)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Add the module's present weights to the average."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in _state(module).items():
            mine = self.weights[name]
            if mine.is_floating_point():
                # Equal values are kept: -inf averaged with itself would be NaN.
                mine.copy_(torch.where(mine == value, value, mine.lerp(value, 1 - decay)))
            else:
                mine.copy_(value)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Load the averaged weights into the module inside the context."""
        own = weights_of(module)
        load_weights(module, self.weights)
        try:
            yield
        finally:
            load_weights(module, own)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's parameters and buffers, without other entries of its state_dict."""
    return {name: value.detach().clone() for name, value in _state(module).items()}


@torch.no_grad()
def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a module, in place."""
    for name, value in _state(module).items():
        value.copy_(weights[name])


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def between(first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """(1 - share) w_0 + share w_1 by name; buffers that are no floating-point numbers are those of w_1."""
    return {
        name: torch.lerp(first[name].to(value), value, share) if value.is_floating_point() else value
        for name, value in second.items()
    }


def weights_like(known: dict[str, Tensor], read: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights read from a file, on the devices of known ones."""
    return {name: read[name].to(value.device) for name, value in known.items()}
