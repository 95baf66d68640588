"""Class weights: what the weighted means are, by hand, and that nothing changes without them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch
from harden.description import describe, restore
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.models import Classifier
from harden.objectives import AWP, MART, TRADES, AdversarialTraining, LinearProbe, Objective, Standard, Step
from harden.objectives.class_weighting import ClassWeights, cross_entropy
from harden.threats import Linf, Threat

WEIGHTS = (1.0, 3.0)
STEP = Step(0, 0.5, Linf("0.1"), seed=0, generator=torch.Generator())


def stay(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    """An attack that finds nothing."""
    return x.clone()


def brighten(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    """An attack that moves every pixel up by 0.1."""
    return x + 0.1


def line() -> Classifier:
    """Logits (0, 10 x) of an image of one pixel x."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    head = network[1]
    assert isinstance(head, nn.Linear)
    nn.init.zeros_(head.bias)
    head.weight.data = torch.tensor([[0.0], [10.0]])
    return Classifier(network)


# Pixels 0.0 of class 1, 0.2 and 0.4 of class 0.
PIXELS, LABELS = (0.0, 0.2, 0.4), (1, 0, 0)
BATCH = Batch(torch.tensor(PIXELS).view(3, 1, 1, 1), torch.tensor(LABELS), torch.arange(3))


def softmax(pixel: float) -> tuple[float, float]:
    high = math.exp(10 * pixel)
    return 1 / (1 + high), high / (1 + high)


def loss_of(pixel: float, label: int) -> float:
    return -math.log(softmax(pixel)[label])


def divergence_of(pixel: float, moved: float) -> float:
    return sum(p * math.log(p / q) for p, q in zip(softmax(pixel), softmax(moved), strict=True))


def value(objective: Objective) -> float:
    model = line()
    return float(objective(objective.start(model, 3).eval(), BATCH, STEP).detach())


@pytest.mark.parametrize(
    ("make", "shift"),
    [
        (lambda weights: Standard(class_weights=weights), 0.0),
        (lambda weights: LinearProbe(class_weights=weights), 0.0),
        (lambda weights: AdversarialTraining(attack=brighten, class_weights=weights), 0.1),
    ],
    ids=["standard", "probe", "madry"],
)
def test_the_weighted_mean_is_the_one_worked_out_by_hand(
    make: Callable[[ClassWeights], Objective], shift: float
) -> None:
    losses = [loss_of(pixel + shift, label) for pixel, label in zip(PIXELS, LABELS, strict=True)]
    assert value(make(())) == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert value(make(WEIGHTS)) == pytest.approx((3 * losses[0] + losses[1] + losses[2]) / 5, rel=1e-5)
    assert value(make((0.0, 7.0))) == pytest.approx(losses[0], rel=1e-5)


def test_trades_weighs_both_its_terms() -> None:
    clean = [loss_of(pixel, label) for pixel, label in zip(PIXELS, LABELS, strict=True)]
    apart = [divergence_of(pixel, pixel + 0.1) for pixel in PIXELS]
    both = [one + 4 * other for one, other in zip(clean, apart, strict=True)]
    assert value(TRADES(beta=4.0, attack=brighten)) == pytest.approx(sum(both) / 3, rel=1e-4)
    weighed = TRADES(beta=4.0, attack=brighten, class_weights=WEIGHTS)
    assert value(weighed) == pytest.approx((3 * both[0] + both[1] + both[2]) / 5, rel=1e-4)


def test_smoothing_does_not_spread_an_example_s_weight() -> None:
    logits, y = torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([1, 0])
    smoothed = []
    for row, label in zip(logits.tolist(), y.tolist(), strict=True):
        total = math.log(sum(math.exp(part) for part in row))
        losses = [total - part for part in row]
        smoothed.append(0.8 * losses[label] + 0.2 * sum(losses) / 2)
    expected = (3 * smoothed[0] + smoothed[1]) / 4
    assert float(cross_entropy(logits, y, WEIGHTS, 0.2)) == pytest.approx(expected, rel=1e-6)


LOGITS = st.lists(st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=3), min_size=1, max_size=9)


@given(LOGITS, st.data())
def test_without_weights_every_bit_is_torch_s_and_equal_weights_change_nothing(
    rows: list[list[float]], data: st.DataObject
) -> None:
    logits = torch.tensor(rows)
    y = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    plain = nn.functional.cross_entropy(logits, y, label_smoothing=0.1)
    assert torch.equal(cross_entropy(logits, y, (), 0.1), plain)
    weight = data.draw(st.floats(0.01, 100))
    torch.testing.assert_close(cross_entropy(logits, y, (weight,) * 3, 0.1), plain)


def test_a_batch_of_classes_that_weigh_nothing_teaches_nothing() -> None:
    logits = torch.zeros(3, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(3, dtype=torch.int64), (0.0, 1.0))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


MAKERS: dict[str, Callable[[ClassWeights], Objective]] = {
    "standard": lambda weights: Standard(class_weights=weights),
    "probe": lambda weights: LinearProbe(class_weights=weights),
    "madry": lambda weights: AdversarialTraining(attack=PGD(steps=1), class_weights=weights),
    "trades": lambda weights: TRADES(attack=stay, class_weights=weights),
    "mart": lambda weights: MART(attack=stay, class_weights=weights),
    "awp": lambda weights: AWP(MART(attack=stay, class_weights=weights)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_as_many_weights_as_logits(name: str) -> None:
    with pytest.raises(InputError, match=r"3 class weights for 2 logits.*balanced_weights\(labels, 2\)"):
        value(MAKERS[name]((1.0, 1.0, 1.0)))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("weights", [(1.0, -0.5), (1.0, math.nan), (math.inf, 1.0), (0.0, 0.0)], ids=str)
def test_weights_that_mean_nothing_are_refused_when_the_value_is_made(
    name: str, weights: ClassWeights
) -> None:
    with pytest.raises(InputError, match=r"class weights.*not all 0.*write class_weights="):
        MAKERS[name](weights)


def test_the_description_holds_plain_numbers_and_comes_back() -> None:
    objective = TRADES(class_weights=(1, 2))  # integers, as a user writes them
    text = json.dumps(describe(objective))
    assert '"class_weights": [1.0, 2.0]' in text
    assert restore(json.loads(text)) == objective
    assert objective.class_weights == (1.0, 2.0)
    assert TRADES().class_weights == ()
