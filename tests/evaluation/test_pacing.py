"""Attacks in a limit of time, by a clock that a forward pass moves on: a second for each image."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from harden.data import Splits, from_loader, load
from harden.errors import InputError
from harden.evaluation import Evaluation, evaluate, quick
from harden.evaluation.pacing import Paced
from harden.models import Classifier
from harden.threats import Linf
from tests.fitted import fitted

EPS = Linf("1/24")
N = 24


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


class Slow(nn.Module):
    """A network whose forward pass takes a second for each image."""

    def __init__(self, inner: nn.Module, now: list[float]) -> None:
        super().__init__()
        self.inner, self.now = inner, now

    def forward(self, x: Tensor) -> Tensor:
        self.now[0] += len(x)
        out: Tensor = self.inner(x)
        return out

    def __deepcopy__(self, memo: object) -> Slow:
        return self


def attacked(now: list[float], seconds: float, image: float = 1.0) -> Evaluation:
    digits: Splits = load("digits")
    network = Slow(fitted(digits, 20), now)
    model = Classifier(network)
    now[0] = 0.0
    source = from_loader((digits.test.x[:N].float(), digits.test.y[:N]), 8)
    paced = Paced(source, 0.4 * seconds, seconds, image)
    with paced.watching(network):
        return evaluate(model, paced, EPS, quick(), judge=paced.watched(model.logits))


def test_all_images_are_attacked_where_there_is_time(now: list[float]) -> None:
    found = attacked(now, 1e9)
    assert found.complete
    assert len(found.labels) == N


@pytest.mark.parametrize("seconds", [3000.0, 6000.0])
def test_it_ends_within_one_forward_pass_and_keeps_what_was_finished(
    now: list[float], seconds: float
) -> None:
    found = attacked(now, seconds, image=300.0)
    # The share of attacks, one forward pass of a batch beyond it, and the passes of its last look.
    assert now[0] <= 0.4 * seconds + 32
    assert 0 < len(found.labels) < N
    assert found.left == N - len(found.labels)
    assert not found.complete


def test_the_first_image_may_take_all_the_time(now: list[float]) -> None:
    one = attacked(now, 1e9)
    alone = now[0] / N
    found = attacked(now, 2 * alone, image=1e9)
    assert len(found.labels) == 1
    assert bool(found.predictions[0] == one.predictions[0])


def test_without_time_for_one_image_nothing_is_claimed(now: list[float]) -> None:
    with pytest.raises(InputError, match="no examples"):
        attacked(now, 10.0)


def test_batches_do_not_change_what_is_found(now: list[float]) -> None:
    one, other = attacked(now, 1e9, image=1.0), attacked(now, 1e9, image=1e9)
    assert torch.equal(one.broken, other.broken)
    assert torch.equal(one.witnesses.witness, other.witnesses.witness)
