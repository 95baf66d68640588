"""A network that knows the digits a little, in a second."""

from __future__ import annotations

import torch
from torch import nn

from harden.data import Splits


def fitted(digits: Splits, steps: int) -> nn.Sequential:
    """A convolution, pooling, a dense layer, after some steps on 800 images; no code under test trains it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)]
    network = nn.Sequential(*layers)
    x, y = digits.train.x[:800], digits.train.y[:800]
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(x), y))
        optimiser.step()
    return network.eval()
