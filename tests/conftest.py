"""What all tests share: one thread, hypothesis profiles, small networks, a watch on global randomness."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

# One thread: the same sums in the same order on every machine, and room for pytest-xdist.
torch.set_num_threads(1)

settings.register_profile("local", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, max_examples=30, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

MakeNetwork = Callable[[int], nn.Module]


@pytest.fixture
def rng_untouched() -> Iterator[None]:
    """Fails the test that draws from torch's global generator; the library must never do so."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before), "the global random state of torch has changed"


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    """Builds a small network for images (N, 3, 8, 8) and 4 classes from a seed, with the global RNG kept.

    It has what attacks are known to disturb: BatchNorm with moving statistics, a frozen BatchNorm inside a
    network in training mode, dropout, and a frozen weight.
    """

    def make(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, stride=2, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.3),
                nn.Linear(8 * 4 * 4, 4),
            )
            for part in network.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.running_mean = 0.1 * torch.randn(8)
                    part.running_var = 1 + torch.rand(8)
            # Margins of order one, as a trained network has them.
            head = network[-1]
            assert isinstance(head, nn.Linear)
            head.weight.data.mul_(30)
        network.train()
        network[4].eval()
        network[0].weight.requires_grad_(False)
        return network

    return make


@pytest.fixture
def network(make_network: MakeNetwork) -> nn.Module:
    """A small network in training mode, with one BatchNorm and one weight frozen."""
    return make_network(0)


@pytest.fixture
def images() -> Tensor:
    """16 images (3, 8, 8), some of whose pixels lie on the box's faces."""
    noise = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return (1.2 * noise - 0.1).clamp(0, 1)


@pytest.fixture
def labels() -> Tensor:
    """16 labels of 4 classes."""
    return torch.arange(16) % 4
