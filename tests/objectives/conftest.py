from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from harden.data import Batch
from harden.models import Classifier
from harden.objectives import Step
from harden.threats import Linf


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Heads that an objective starts draw from the global generator: the same ones after any other test."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


@pytest.fixture
def model() -> Classifier:
    """Convolution, BatchNorm and dropout on images (1, 6, 6), three classes."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(36, 8),
            nn.ReLU(),
            nn.Linear(8, 3),
        )
    return Classifier(network, mean=(0.4,), std=(0.3,))


@pytest.fixture
def batch() -> Batch:
    """Twelve images with ids that are not their positions."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(12, 1, 6, 6, generator=generator)
    return Batch(x, torch.arange(12) % 3, torch.arange(100, 112))


@pytest.fixture
def step() -> Step:
    """The first step of a stage, at the full eps of 0.1."""
    return Step(0, 0.5, Linf("0.1"), seed=3, generator=torch.Generator().manual_seed(4))
