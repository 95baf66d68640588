from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from harden.data import Source, from_loader
from harden.models import Classifier

MakeModel = Callable[..., Classifier]


@pytest.fixture
def make_model() -> MakeModel:
    """Makes networks on images (1, 6, 6) with two classes, BatchNorm and dropout."""

    def make(seed: int = 1, dropout: float = 0.2) -> Classifier:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(144, 8),
                nn.ReLU(),
                nn.Linear(8, 2),
            )
        return Classifier(network)

    return make


@pytest.fixture
def model(make_model: MakeModel) -> Classifier:
    return make_model()


@pytest.fixture
def source() -> Source:
    """48 noisy images, bright on the left or on the right, in batches of 10: five steps an epoch."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(48) % 2
    x = 0.3 * torch.rand(48, 1, 6, 6, generator=generator)
    x[y == 0, :, :, :3] += 0.5
    x[y == 1, :, :, 3:] += 0.5
    return from_loader((x, y), 10)
