"""Averages of a network's weights over the steps of training: exponential, or of equal weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class TailAverage:
    """The mean of the weights after each step from a share of the budget on, all with the same weight.

    This is stochastic weight averaging (Izmailov et al., 1803.05407) of every step. Floating-point buffers,
    BatchNorm statistics among them, are averaged as the weights are; the paper computes these statistics
    anew instead, in a pass over the data. Before that share the average is the present weights.

    Args:
        start: share of the stage's budget, in [0, 1).

    Raises:
        InputError: the start is outside [0, 1).
    """

    start: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            seen = f"an average from {self.start} of the budget on"
            raise InputError(seen, "a share in [0, 1)", "write TailAverage(start=0.5)")


Averaging = float | TailAverage
"""The decay of a moving average, 0 for none, or the mean over the last part of a stage."""


@final
class WeightAverage:
    """Moving average s <- d s + (1 - d) w after each step, or the mean that a `TailAverage` describes.

    With a decay d = min(decay, (1 + t) / (10 + t)), which rises with the steps t, for short runs.
    Floating-point buffers (BatchNorm statistics) are averaged too, other buffers copied.

    Args:
        module: whose weights are averaged.
        how: the decay, or the mean.

    Attributes:
        steps: how many weights have gone into the average.
        weights: the average.
    """

    def __init__(self, module: nn.Module, how: Averaging) -> None:
        self.how = how
        self.steps = 0
        self.weights = weights_of(module)

    @torch.no_grad()
    def update(self, module: nn.Module, progress: float = 0.0) -> None:
        """Add the module's present weights to the average.

        Args:
            module: the one that the average was made of.
            progress: share of the budget that was spent before the step that gave these weights.
        """
        kept = self._kept(progress)
        for name, value in _state(module).items():
            mine = self.weights[name]
            if mine.is_floating_point():
                # Equal values are kept: -inf averaged with itself would be NaN.
                mine.copy_(torch.where(mine == value, value, mine.lerp(value, 1 - kept)))
            else:
                mine.copy_(value)

    def _kept(self, progress: float) -> float:
        """The share of the average so far in the next one."""
        if isinstance(self.how, TailAverage):
            if progress < self.how.start:
                return 0.0
            self.steps += 1
            return 1 - 1 / self.steps
        self.steps += 1
        return min(self.how, (1 + self.steps) / (10 + self.steps))

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
