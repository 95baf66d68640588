"""Structures of networks: equal for other weights, different for other code, None where state may hide."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn

from harden.models import Classifier
from harden.models.architecture import structure_of


def classifier(width: int = 6, slope: float = 0.1, seed: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Flatten(), nn.Linear(12, width), nn.LeakyReLU(slope), nn.Linear(width, 3)
        return Classifier(nn.Sequential(*layers))


def test_other_weights_of_the_same_shapes_have_the_same_structure() -> None:
    one, other = structure_of(classifier(seed=0)), structure_of(classifier(seed=1))
    assert one is not None
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: classifier(width=7),
        lambda: classifier(slope=0.2),
        lambda: classifier().double(),
        lambda: classifier().eval(),
        lambda: Classifier(classifier().network, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
    ],
    ids=["width", "attribute", "type", "mode", "normalisation"],
)
def test_another_structure_differs(make: Callable[[], Classifier]) -> None:
    found = structure_of(make())
    assert found is not None
    assert found != structure_of(classifier())


def test_parts_with_hooks_or_further_state_have_none() -> None:
    hooked, locked = classifier(), classifier()
    handle = hooked.head.register_forward_hook(lambda *_: None)
    assert structure_of(hooked) is None
    handle.remove()
    assert structure_of(hooked) == structure_of(classifier())
    locked.head.lock = threading.Lock()  # type: ignore[assignment]  # what users do
    assert structure_of(locked) is None
