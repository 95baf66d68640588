"""What is trained for certificates in tests: one network of each kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.models import Classifier


def dense() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def convolutional() -> nn.Module:
    layers = nn.ReLU(), nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, 3)
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), *layers)


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 8, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


class Residual(nn.Module):
    """A sum of two paths, a weight that is transposed on its way, and an average at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.mixing = nn.Parameter(torch.eye(4) + 0.1 * torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        x = x + functional.leaky_relu(self.norm(self.second(x)), 0.1)
        return self.head(functional.relu(x.mean((2, 3)) @ self.mixing.T))  # type: ignore[no-any-return]  # torch says Any


KINDS: dict[str, Callable[[], nn.Module]] = {
    "dense": dense,
    "convolutional": convolutional,
    "normed": normed,
    "residual": Residual,
}


def classifier(kind: str) -> Classifier:
    torch.manual_seed(5)
    return Classifier(KINDS[kind](), mean=(0.4,), std=(0.3,))
