"""A network and images for the tests of copies."""

from __future__ import annotations

import torch
from torch import nn

X = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def body() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 6), nn.ReLU(), nn.Linear(6, 5)
        )
