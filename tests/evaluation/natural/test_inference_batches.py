"""Batches for a judge in inference mode: order, positions, and the network behind the judge."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.evaluation import thresholded
from harden.evaluation.natural.inference_batches import batches, frozen_judge, network_of
from harden.models import Classifier

X, Y = torch.linspace(0, 1, 28).view(7, 1, 2, 2), torch.arange(7) % 2


def model() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        return Classifier(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2)))


def test_the_network_is_found_as_itself_as_a_method_and_behind_thresholds() -> None:
    made = model()
    for judge in (made, made.logits, thresholded(made.logits, 0.3), thresholded(thresholded(made, 0.3), 0.4)):
        assert network_of(judge) is made
    assert network_of(lambda x: made.logits(x)) is None


def test_a_judge_is_in_inference_mode_inside_and_as_before_after() -> None:
    made = model().train()
    with frozen_judge(made.logits), torch.no_grad():
        assert not any(part.training for part in made.modules())
        made.logits(X)
    assert all(part.training for part in made.modules())
    assert made.network.get_buffer("1.running_mean").tolist() == [0.0] * 4


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_are_all_images_in_order_with_their_positions(size: int) -> None:
    found = [batch for batch, total in batches(lambda x: x, (X, Y), size) if total == 7]
    assert [len(batch) for batch in found] == [min(size, 7 - at) for at in range(0, 7, size)]
    columns: tuple[tuple[str, Tensor], ...] = (("x", X), ("y", Y), ("index", torch.arange(7)))
    for name, expected in columns:
        assert torch.equal(torch.cat([getattr(batch, name) for batch in found]), expected)


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError):
        list(batches(lambda x: x, (X[:0], Y[:0]), 7))
