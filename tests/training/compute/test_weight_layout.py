"""Convolution weights are channels last while a stage trains, where the network computes the same so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from harden.data import Source, from_loader
from harden.models import Classifier
from harden.models.snapshot import Snapshot
from harden.objectives import Standard
from harden.threats import Linf
from harden.training import SGD, Budget, Stage, train
from harden.training import stage_run as loop_module
from harden.training.compute.weight_layout import channels_last
from harden.training.weights.weight_averaging import weights_of

LAST = torch.channels_last


class Viewed(nn.Module):
    """Flattens by `view`, which channels-last features do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.conv(x).view(len(x), -1)))


class InMemoryOrder(Viewed):
    """Reads its features in the order in which they lie in memory, and raises nothing."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.as_tensor(self.head(y.as_strided((len(x), 8 * 64), (8 * 64, 1))))


def pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "pooled": pooled,
    "viewed": Viewed,
    "in-memory-order": InMemoryOrder,
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4)),
}


def classifier(name: str) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Classifier(NETWORKS[name]())


def convolution(model: Classifier) -> Tensor:
    return next(part.weight for part in model.network.modules() if isinstance(part, nn.Conv2d))


@pytest.fixture
def images() -> Source:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand((40, 3, 8, 8), generator=generator)
    return from_loader((x, torch.randint(4, (40,), generator=generator)), 8)


STAGE = Stage("test", Standard(), Budget.parse("2epochs"), optimiser=SGD(0.05), ramp=0.0)


@pytest.mark.parametrize(
    ("name", "changed"), [("pooled", True), ("viewed", False), ("in-memory-order", False)]
)
def test_weights_are_channels_last_inside_where_the_network_computes_the_same(
    name: str, changed: bool
) -> None:
    model, x = classifier(name), torch.rand(6, 3, 8, 8)
    before, mine = weights_of(model), convolution(model)
    with channels_last(model, x, SGD(0.1).build(model)):
        assert convolution(model) is mine
        assert convolution(model).is_contiguous(memory_format=LAST) is changed
        assert all(torch.equal(value, before[key]) for key, value in weights_of(model).items())
    assert convolution(model).is_contiguous()
    assert all(torch.equal(value, before[key]) for key, value in weights_of(model).items())


def test_weights_that_were_channels_last_stay_so() -> None:
    model = classifier("pooled")
    model.network.to(memory_format=LAST)
    with channels_last(model, torch.rand(6, 3, 8, 8), SGD(0.1).build(model)):
        assert convolution(model).is_contiguous(memory_format=LAST)
    assert convolution(model).is_contiguous(memory_format=LAST)
    assert not convolution(model).is_contiguous()


def test_no_random_number_is_drawn_and_no_statistic_moves(rng_untouched: None) -> None:
    model = classifier("pooled").train()
    before = weights_of(model)
    with channels_last(model, torch.ones(6, 3, 8, 8), SGD(0.1).build(model)):
        assert convolution(model).is_contiguous(memory_format=LAST)
    assert all(torch.equal(value, before[key]) for key, value in weights_of(model).items())
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_training_gives_the_weights_of_the_usual_order_up_to_rounding(
    name: str, images: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)  # draws in the order of memory
    model = classifier(name)
    list(train(STAGE, model, images, Linf("0.1"), seed=3))
    usual = classifier(name)
    monkeypatch.setattr(loop_module, "channels_last", lambda model, x, optimiser: nullcontext())
    list(train(STAGE, usual, images, Linf("0.1"), seed=3))
    found, expected = weights_of(model), weights_of(usual)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, rtol=1e-3, atol=1e-5), key
        assert found[key].is_contiguous()


def test_a_loop_that_is_abandoned_leaves_contiguous_weights(images: Source) -> None:
    model = classifier("pooled")
    steps = train(STAGE, model, images, Linf("0.1"))
    next(steps)
    assert convolution(model).is_contiguous(memory_format=LAST)
    assert not convolution(model).is_contiguous()
    steps.close()
    assert convolution(model).is_contiguous()


def test_a_loop_that_is_resumed_is_channels_last_too(images: Source) -> None:
    model = classifier("pooled")
    steps = train(STAGE, model, images, Linf("0.1"))
    next(steps)
    found = steps.snapshot()
    moment = Snapshot({name: value.clone() for name, value in found.tensors.items()}, found.facts)
    again = classifier("pooled")
    resumed = train(STAGE, again, images, Linf("0.1"), start=moment)
    next(resumed)
    next(steps)
    assert convolution(again).is_contiguous(memory_format=LAST)
    assert all(torch.equal(weights_of(again)[key], value) for key, value in weights_of(model).items())
