"""Optimisers as values, with their peak learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import nn

from harden.errors import InputError


class Optimiser(Protocol):
    """A value from which a torch optimiser is built."""

    @property
    def lr(self) -> float:
        """The peak learning rate."""
        ...

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return an optimiser over the module's trainable parameters."""
        ...


@final
@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent with Nesterov momentum; no weight decay on biases and norms.

    Raises:
        InputError: lr is negative or not finite.
    """

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return an optimiser over the module's trainable parameters."""
        groups = _groups(module.named_parameters(), self.weight_decay)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0)


@final
@dataclass(frozen=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay; no weight decay on biases and norms.

    Raises:
        InputError: lr is negative or not finite.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return an optimiser over the module's trainable parameters."""
        return torch.optim.AdamW(_groups(module.named_parameters(), self.weight_decay), lr=self.lr)


def _check_rate(lr: float) -> None:
    if not 0 <= lr < math.inf:
        raise InputError(f"a learning rate of {lr}", "a number, 0 or more", "write lr=0.001, for instance")


def _groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, object]]:
    trainable = [weight for _, weight in named if weight.requires_grad]
    if not trainable:
        raise InputError(
            "a network whose parameters are all frozen", "trainable parameters", "write requires_grad_(True)"
        )
    matrices = [weight for weight in trainable if weight.dim() > 1]
    vectors = [weight for weight in trainable if weight.dim() <= 1]
    groups: list[dict[str, object]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
