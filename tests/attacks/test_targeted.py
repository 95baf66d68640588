"""Targeted attacks: the right classes in the right order, nothing lost that an untargeted attack keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import APGD, FAB, PGD, Attack, NearestAttack, Targeted
from harden.attacks.engine.success_steps import SuccessSteps, recording
from harden.attacks.targeted import likeliest_others
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import (
    DLR,
    CrossEntropy,
    Divergence,
    FastCopyLoss,
    Margin,
    TargetedDLR,
    TargetedMargin,
)
from harden.models import Classifier, frozen
from harden.threats import L1, L2, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREATS = pytest.mark.parametrize("threat", [Linf("8/255"), L2("1/2"), L1(3)], ids=repr)


def draws(n: int = 16, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(n))


@pytest.fixture
def model(network: nn.Module) -> Classifier:
    return Classifier(network.eval())


# Which classes


@given(n=st.integers(1, 6), classes=st.integers(2, 7), most=st.integers(1, 9), seed=st.integers(0, 1000))
def test_they_are_the_others_by_falling_logit(n: int, classes: int, most: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Few values, so that some are equal.
    logits = torch.randint(-2, 3, (n, classes), generator=generator).float()
    y = torch.randint(0, classes, (n,), generator=generator)
    found = likeliest_others(logits, y, most)
    assert found.shape == (n, min(most, classes - 1))
    for row in range(n):
        others = [k for k in range(classes) if k != int(y[row])]
        expected = sorted(others, key=lambda k: -float(logits[row, k]))  # stable
        assert found[row].tolist() == expected[:most]


def test_logits_that_are_no_numbers_come_last() -> None:
    logits = torch.tensor([[1.0, torch.nan, 3.0, -torch.inf], [torch.inf, 1.0, 2.0, torch.nan]])
    assert likeliest_others(logits, torch.tensor([0, 2]), 9)[:, 0].tolist() == [2, 0]
    assert sorted(likeliest_others(logits, torch.tensor([0, 2]), 9)[0].tolist()) == [1, 2, 3]


def test_each_class_is_aimed_at_once_on_what_still_stands(
    model: Classifier, images: Tensor, labels: Tensor
) -> None:
    seen: list[tuple[int, Tensor]] = []

    def attack(loss: object, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        assert isinstance(loss, TargetedMargin)
        assert len(x) == len(draws) == len(loss.target)
        seen.append((len(x), loss.target))
        return x

    y = model.logits(images).argmax(1)
    Targeted(attack, classes=9)(Margin(model.logits, y), images, Linf("1/100"), draws())
    assert [n for n, _ in seen] == [16] * 3
    assert torch.equal(
        torch.stack([target for _, target in seen], 1), likeliest_others(model.logits(images), y, 3)
    )
    # What errs already is asked about no more after the first class.
    seen.clear()
    y = torch.where(torch.arange(16) < 5, (y + 1) % 4, y)
    Targeted(attack, classes=2)(Margin(model.logits, y), images, Linf("1/100"), draws())
    assert [n for n, _ in seen] == [16, 11]


# What it finds


@THREATS
@pytest.mark.parametrize("make", [CrossEntropy, Margin, DLR])
def test_it_finds_errors_inside_ball_and_box_and_leaves_all_as_it_was(
    threat: Threat, make: Callable[..., CrossEntropy], model: Classifier, images: Tensor
) -> None:
    y, before = model.logits(images).argmax(1), images.clone()
    loss = make(model.logits, y)
    with frozen(model):
        found = Targeted(APGD(steps=10), classes=3)(loss, images, threat, draws())
    assert torch.equal(images, before)
    assert bool(threat.contains(found, images).all())
    wrong = loss.judged(found)[1]
    assert int(wrong.sum()) > 2
    assert not found.requires_grad


def test_a_class_behind_a_worthless_one_is_reached() -> None:
    """The margin's gradient follows the class that leads, which no step can bring past y; another could."""

    def classify(x: Tensor) -> Tensor:
        brightness = x.flatten(1).mean(1)
        lure = 0.9 + 1e-3 * brightness  # leads at first, and climbs slowest
        real = 0.5 - 3 * (brightness - 0.5)
        return torch.stack((torch.ones_like(lure), lure, real), 1)

    x, y, threat = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.int64), Linf("1/5")
    start = PGD(steps=10, random_start=False)
    loss = Margin(classify, y)
    assert not bool(loss.judged(start(loss, x, threat, draws(3)))[1].any())
    found = Targeted(start)(loss, x, threat, draws(3))
    assert bool(loss.judged(found)[1].all())


def test_an_example_is_attacked_alike_alone_and_in_a_batch(model: Classifier, images: Tensor) -> None:
    y, attack = model.logits(images).argmax(1), Targeted(PGD(steps=5), classes=2)
    loss, threat = DLR(model.logits, y), L2("1/4")
    whole = attack(loss, images, threat, draws())
    for part in (torch.tensor([4]), torch.tensor([1, 7, 12])):
        alone = attack(loss.take(part), images[part], threat, draws().take(part))
        torch.testing.assert_close(alone, whole[part], rtol=0, atol=1e-5)


def test_a_copy_that_cries_wolf_is_not_believed(model: Classifier, images: Tensor) -> None:
    y = model.logits(images).argmax(1)

    def other(x: Tensor) -> Tensor:
        return model.logits(x).roll(1, 1)

    loss = FastCopyLoss(DLR(other, y), DLR(model.logits, y))
    found = Targeted(PGD(steps=3))(loss, images, Linf("1/1000"), draws())
    assert not bool(DLR(model.logits, y).judged(found)[1].any())


def test_steps_count_on_over_classes(model: Classifier, images: Tensor) -> None:
    y, record = model.logits(images).argmax(1), SuccessSteps(16)
    loss, threat = Margin(model.logits, y), Linf("8/255")
    with recording(record):
        found = Targeted(PGD(steps=4))(loss, images, threat, draws())
    wrong = loss.judged(found)[1]
    assert torch.equal(record.first > 0, wrong)
    assert record.total == (12 if not bool(wrong.all()) else record.total)
    first = Targeted(PGD(steps=4), classes=1)(loss, images, threat, draws())
    at_first = loss.judged(first)[1]
    assert bool((record.first[at_first] <= 4).all())
    assert bool((record.first[wrong & ~at_first] > 4).all())


def test_the_nearest_of_all_classes_is_kept(model: Classifier, images: Tensor) -> None:
    y = model.logits(images).argmax(1)
    loss, threat, attack = Margin(model.logits, y), L2("1/2"), FAB(steps=20)
    found = Targeted(attack, classes=3).nearest(loss, images, threat, draws())
    targets = likeliest_others(model.logits(images), y, 3)
    parts = [
        attack.nearest(loss.aimed(targets[:, rank]), images, threat, draws().fold(rank)) for rank in range(3)
    ]
    least = torch.stack([part.distance for part in parts]).amin(0)
    assert torch.equal(found.distance, least)
    assert bool(loss.judged(found.x_adv)[1].all())
    assert len({int(place) for place in torch.stack([part.distance for part in parts]).argmin(0)}) > 1
    assert isinstance(Targeted(attack), NearestAttack)


# What it refuses


def test_what_can_not_be_aimed_is_refused(model: Classifier, images: Tensor, labels: Tensor) -> None:
    log_target = model.logits(images).log_softmax(1).detach()
    attack: Attack = Targeted(PGD(steps=2))
    for loss in (Divergence(model.logits, log_target), lambda x: x.flatten(1).sum(1)):
        with pytest.raises(InputError, match="DLR"):
            attack(loss, images, Linf("0.1"), draws())
    with pytest.raises(InputError, match="at least one"):
        Targeted(PGD(), classes=0)
    with pytest.raises(InputError, match="FAB"):
        Targeted(PGD()).nearest(Margin(model.logits, labels), images, Linf("0.1"), draws())
    with pytest.raises(InputError, match="one id"):
        attack(Margin(model.logits, labels), images, Linf("0.1"), draws(3))


def test_empty_batches_and_two_classes(images: Tensor) -> None:
    def classify(x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack((0.5 - mean, mean - 0.5), 1)

    y = classify(images).argmax(1)
    attack = Targeted(PGD(steps=5))
    assert attack(Margin(classify, y[:0]), images[:0], Linf("0.1"), draws(0)).shape == (0, 3, 8, 8)
    found = attack(Margin(classify, y), images, Linf("0.1"), draws())
    alone = PGD(steps=5)(Margin(classify, y), images, Linf("0.1"), draws().fold(0))
    assert torch.equal(found, alone)


def test_the_ratio_is_aimed_as_published(model: Classifier, images: Tensor, labels: Tensor) -> None:
    aimed = DLR(model.logits, labels).aimed((labels + 1) % 4)
    assert isinstance(aimed, TargetedDLR)
