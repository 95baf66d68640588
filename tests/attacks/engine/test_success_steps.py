"""Which step found an error: the first that a shorter attack needs, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harden.attacks import APGD, MIFGSM, PGD, Attack
from harden.attacks.engine.success_steps import SuccessSteps, current_record, recording
from harden.draws import Draws
from harden.losses import FastCopyLoss
from harden.threats import Linf
from tests.attacks.engine.test_best_point_search import N, _wavy, _x

ATTACKS: dict[str, Callable[[int], Attack]] = {
    "pgd": lambda steps: PGD(steps=steps, step_size=0.3, stop_early=True),
    "mifgsm": lambda steps: MIFGSM(steps=steps, step_size=0.2, stop_early=True),
    "apgd": lambda steps: APGD(steps=steps, stop_early=True),
}
STEPS, THREAT = 8, Linf("1/10")


def _recorded(attack: Attack, seed: int, *, copy: bool) -> tuple[SuccessSteps, Tensor]:
    loss, record = _wavy(seed, height=8.0), SuccessSteps(N)
    with recording(record):
        found = attack(
            FastCopyLoss(loss, loss) if copy else loss, _x(seed), THREAT, Draws(0, torch.arange(N))
        )
    return record, loss.judged(found)[1]


@pytest.mark.parametrize("name", ["pgd", "mifgsm"])
@pytest.mark.parametrize("copy", [False, True])
def test_an_attack_of_so_many_steps_is_just_long_enough(name: str, copy: bool) -> None:
    """For attacks whose steps do not depend on how many there are to be."""
    record, wrong = _recorded(ATTACKS[name](STEPS), 1, copy=copy)
    assert torch.equal(record.first > 0, wrong)
    assert record.total == STEPS
    for steps in range(1, STEPS - 1):
        shorter = _recorded(ATTACKS[name](steps), 1, copy=copy)[1]
        # A run of t steps judges t + 1 points; the last one is where a longer run takes its next gradient.
        assert torch.equal(shorter, wrong & (record.first <= steps + 1))
    assert len(set(record.first[wrong].tolist())) > 2


def test_auto_pgd_tells_its_steps_too() -> None:
    record, wrong = _recorded(ATTACKS["apgd"](STEPS), 1, copy=False)
    assert torch.equal(record.first > 0, wrong)
    assert len(set(record.first[wrong].tolist())) > 2


def test_restarts_count_on() -> None:
    one, first = _recorded(PGD(STEPS, 0.3, stop_early=True), 1, copy=True)
    two, both = _recorded(PGD(STEPS, 0.3, restarts=2, stop_early=True), 1, copy=True)
    assert two.total == 2 * STEPS
    assert torch.equal(one.first[first], two.first[first])
    later = both & ~first
    assert bool(later.any())
    assert bool((two.first[later] > STEPS).all())


def test_parts_are_merged_as_following_on() -> None:
    whole = SuccessSteps(5)
    whole.note(torch.tensor([1]), 3)
    whole.total = 10
    part = SuccessSteps(3)
    part.note(torch.tensor([0, 2]), 8)
    part.note(torch.tensor([2]), 9)
    part.total = 10
    whole.merge(torch.tensor([0, 1, 4]), part)
    assert whole.first.tolist() == [18, 3, 0, 0, 18]
    assert whole.total == 20


def test_a_record_serves_the_attack_on_its_examples_alone() -> None:
    record = SuccessSteps(4)
    assert current_record(4) is None
    with recording(record):
        assert current_record(4) is record
        assert current_record(3) is None
        with recording(None):
            assert current_record(4) is None
