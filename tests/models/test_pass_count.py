"""Passes: one forward and one backward on one image is one, a forward alone a third."""

from __future__ import annotations

import copy
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import FGSM, PGD
from harden.draws import Draws
from harden.losses import CrossEntropy
from harden.models import Classifier, PassMeter, counting, frozen
from harden.threats import Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

B = 16


@pytest.fixture
def model(network: nn.Module) -> Classifier:
    return Classifier(network.eval())


def test_a_forward_with_gradient_is_a_pass_and_one_without_a_third(model: Classifier, images: Tensor) -> None:
    with counting(PassMeter()) as meter:
        model(images)
        assert meter.passes == B
        with torch.no_grad():
            model(images)
        assert meter.passes == B + B / 3
        with torch.inference_mode():
            model.logits(images[:1])
        assert meter.passes == B + (B + 1) / 3
        model.features(images[:2])
        assert meter.passes == B + 2 + (B + 1) / 3


@pytest.mark.parametrize(
    ("attack", "passes"),
    [
        (PGD(steps=10, keep_best=False), Fraction(10)),
        (PGD(steps=10, stop_early=False), 10 + Fraction(1, 3)),
        (PGD(steps=10, restarts=3, stop_early=False), 30 + Fraction(3, 3)),
        (PGD(steps=10, restarts=3, keep_best=False), 30 + Fraction(3, 3)),
        (FGSM(), Fraction(1)),
    ],
)
def test_an_attack_costs_its_steps_exactly(
    attack: PGD, passes: Fraction, model: Classifier, images: Tensor, labels: Tensor
) -> None:
    draws = Draws(0, torch.arange(B))
    with counting(PassMeter()) as meter, frozen(model):
        attack(CrossEntropy(model.logits, labels), images, Linf("8/255"), draws)
    assert meter.passes == float(B * passes)
    with (
        counting(PassMeter()) as meter,
        frozen(model),
        torch.no_grad(),
    ):  # the caller's mode counts for nothing
        attack(CrossEntropy(model.logits, labels), images, Linf("8/255"), draws)
    assert meter.passes == float(B * passes)


def test_meters_nest_and_stop_with_their_context(model: Classifier, images: Tensor) -> None:
    outer, inner = PassMeter(), PassMeter()
    with counting(outer):
        model(images)
        with counting(inner):
            model(images)
        model(images[:4])
    model(images)
    assert (outer.passes, inner.passes) == (2 * B + 4, B)


def test_a_meter_stops_when_its_context_raises(model: Classifier, images: Tensor) -> None:
    meter = PassMeter()
    with pytest.raises(RuntimeError, match="channels"), counting(meter):
        model(images[:, :2])
    model(images)
    assert meter.passes == B


def test_copies_count_too_and_the_network_alone_does_not(model: Classifier, images: Tensor) -> None:
    with counting(PassMeter()) as meter:
        copy.deepcopy(model)(images)
        Classifier(model.network)(images)
        model.network(images)
    assert meter.passes == 2 * B


def test_without_a_meter_nothing_is_counted(model: Classifier, images: Tensor) -> None:
    meter = PassMeter()
    model(images)
    assert meter.passes == 0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), max_size=200))
def test_thirds_add_up_exactly(parts: list[tuple[int, bool]]) -> None:
    """Adding 1/3 as a float would drift; a budget of passes is compared for equality."""
    meter = PassMeter()
    for images, backward in parts:
        meter.add(images, backward=backward)
    exact = sum(Fraction(images) if backward else Fraction(images, 3) for images, backward in parts)
    assert meter.passes == float(exact)
    assert PassMeter(meter.passes).passes == meter.passes
