from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Splits, load
from harden.models import Classifier
from harden.models.small_networks import small_cnn

Fit = Callable[[float, int], Classifier]


@pytest.fixture(scope="session")
def digits() -> Splits:
    return load("digits")


@pytest.fixture(scope="session")
def fit(digits: Splits) -> Fit:
    """Trains a small network on digits, with a signed-gradient loop of its own: no code under test."""

    def fit(eps: float, epochs: int) -> Classifier:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Classifier(small_cnn())
        x, y = digits.train.x, digits.train.y
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(epochs):
            for index in torch.split(torch.randperm(len(x), generator=generator), 100):
                images, labels = _attacked(model, x[index], y[index], eps), y[index]
                loss = functional.cross_entropy(model.train().logits(images), labels)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
        model.zero_grad()
        return model.eval()

    return fit


def _attacked(model: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
    if not eps:
        return x
    model.eval()
    x_adv = x
    for _ in range(4):
        x_adv = x_adv.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model.logits(x_adv), y), x_adv)
        x_adv = (x_adv + eps / 2 * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return x_adv.detach()


@pytest.fixture(scope="session")
def plain(fit: Fit) -> Classifier:
    """Trained without an adversary; tests must leave it as it is."""
    return fit(0.0, 4)


@pytest.fixture(scope="session")
def hardened(fit: Fit) -> Classifier:
    """Trained against a PGD-4 at eps 0.1."""
    return fit(0.1, 8)


@pytest.fixture
def line() -> Classifier:
    """Two classes split at a pixel mean of 1/2: z = (0, sum(x) - 2) on images (1, 2, 2)."""
    with torch.random.fork_rng():
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    weights = {"1.weight": torch.tensor([[0.0] * 4, [1.0] * 4]), "1.bias": torch.tensor([0.0, -2.0])}
    network.load_state_dict(weights)
    return Classifier(network)
