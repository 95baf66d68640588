"""Trials of changes: accepted where logits stay and gradients exist, without a trace on the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn

from harden.models import Classifier, PassMeter, counting
from harden.training.compute.change_trial import works_under
from harden.training.weights.weight_averaging import weights_of

X = torch.linspace(0, 1, 6 * 12).view(6, 3, 2, 2)


@pytest.fixture
def model() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 3))
        return Classifier(layers).train()


@contextmanager
def scaled(copy: Classifier, factor: float) -> Iterator[None]:
    with torch.no_grad():
        for weight in copy.head.parameters():
            weight.mul_(factor)
    yield


@contextmanager
def raising(copy: Classifier) -> Iterator[None]:
    raise RuntimeError("no such order of memory")
    yield


def test_a_change_that_keeps_the_logits_works(model: Classifier, rng_untouched: None) -> None:
    before, meter = weights_of(model), PassMeter()
    with counting(meter):
        assert works_under(lambda _: nullcontext(), model, X, rounding=0.0)
        assert works_under(lambda copy: scaled(copy, 1.01), model, X, rounding=0.02)
    assert meter.passes == 0
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())
    assert all(part.training for part in model.modules())
    assert all(weight.grad is None for weight in model.parameters())


def test_a_change_of_the_logits_is_noticed(model: Classifier) -> None:
    assert not works_under(lambda copy: scaled(copy, 1.01), model, X, rounding=0.001)
    assert not works_under(lambda copy: scaled(copy, float("nan")), model, X, rounding=0.5)


def test_a_change_that_raises_does_not_work(model: Classifier) -> None:
    assert not works_under(raising, model, X, rounding=0.5)


def test_a_change_without_gradients_does_not_work(model: Classifier) -> None:
    assert not works_under(lambda _: torch.no_grad(), model, X, rounding=0.5)


def test_a_lack_of_memory_is_not_hidden(model: Classifier) -> None:
    def exhausted(copy: Classifier) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        works_under(exhausted, model, X, rounding=0.5)  # type: ignore[arg-type]  # raises before it is entered
