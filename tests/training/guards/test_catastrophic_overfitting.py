from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch
from harden.models import Classifier, PassMeter, counting
from harden.objectives import AWP, NFGSM, AdversarialTraining
from harden.objectives.adversarial_training import TRAINING_ATTACK
from harden.threats import Linf
from harden.training.guards import catastrophic_overfitting
from harden.training.guards.catastrophic_overfitting import (
    LARGEST,
    ONE_STEP,
    AttackComparison,
    compare,
    largest_cost,
    training_attack,
)

WEAK = AdversarialTraining(PGD(steps=1, step_size=0.01, random_start=False, keep_best=False))
STRONG = AdversarialTraining(PGD(steps=4, step_size=0.5, keep_best=False))
THREAT = Linf("1/10")


def threshold() -> Classifier:
    """Class 1 where the first pixel is above a half."""
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
        layer.bias.copy_(torch.tensor([0.5, -0.5]))
    return Classifier(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(), layer).eval())


def batch(n: int = 20, gap: float = 0.05) -> Batch:
    """Images whose first pixel is `gap` from a half, on the side of their class."""
    y = torch.arange(n) % 2
    x = torch.full((n, 1, 2, 2), 0.5)
    x[:, 0, 0, 0] = 0.5 + gap * (2 * y - 1)
    return Batch(x, y, torch.arange(n))


@pytest.mark.parametrize(
    ("trained", "stronger", "collapsed"),
    [
        (40, 0, True),
        (40, 19, True),
        (40, 20, False),  # a half
        (10, 0, True),
        (9, 0, False),  # fewer than 0.15 of 64
        (0, 0, False),
    ],
)
def test_more_than_half_and_enough_images_have_to_be_lost(
    trained: int, stronger: int, *, collapsed: bool
) -> None:
    assert AttackComparison(trained, stronger, 64).collapsed is collapsed


def test_a_network_that_resists_the_training_attack_alone_has_collapsed() -> None:
    found = compare(WEAK, threshold(), batch(), THREAT, 0)
    assert found == AttackComparison(20, 0, 20)
    assert found.collapsed


def test_a_network_that_resists_both_has_not() -> None:
    found = compare(WEAK, threshold(), batch(gap=0.2), THREAT, 0)
    assert found == AttackComparison(20, 20, 20)


def test_a_network_that_the_training_attack_breaks_has_not() -> None:
    found = compare(STRONG, threshold(), batch(), THREAT, 0)
    assert found == AttackComparison(0, 0, 20)
    assert not found.collapsed


@pytest.mark.parametrize("gap", [0.05, 0.2])
def test_a_comparison_costs_at_most_what_is_said_and_sees_the_first_images(gap: float) -> None:
    meter = PassMeter()
    with counting(meter):
        found = compare(WEAK, threshold(), batch(LARGEST + 10, gap), THREAT, 0)
    assert found.n == LARGEST
    assert 0 < meter.passes <= largest_cost(WEAK, LARGEST + 10) + 1e-9


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    model = threshold().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def raises(*given: Any) -> Tensor:
        raise ArithmeticError

    if fails:
        monkeypatch.setattr(catastrophic_overfitting, "Margin", raises)
        with pytest.raises(ArithmeticError):
            compare(WEAK, model, batch(), THREAT, 0)
    else:
        compare(WEAK, model, batch(), THREAT, 0)
    assert all(part.training for part in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_numbers() -> None:
    model, images = threshold(), batch(gap=0.099)
    found = [compare(AdversarialTraining(), model, images, THREAT, seed) for seed in (1, 1)]
    assert found[0] == found[1]


def test_the_attack_is_that_of_the_objective() -> None:
    assert training_attack(WEAK) == WEAK.attack
    assert training_attack(AWP(WEAK)) == WEAK.attack
    assert training_attack(AdversarialTraining()) == TRAINING_ATTACK
    assert training_attack(NFGSM()) == ONE_STEP
