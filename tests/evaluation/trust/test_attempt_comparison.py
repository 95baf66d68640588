"""Comparison of attempts: which trust check fires when one breaks what those before it left."""

from __future__ import annotations

from math import comb

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD, RandomNoise
from harden.data import Splits
from harden.draws import Draws
from harden.evaluation import Attempt, TrustCheck, evaluate, pgd_suite
from harden.evaluation.trust.attempt_comparison import comparison_checks
from harden.evaluation.trust.closing_attempts import (
    TWICE,
    TWICE_ON,
    closing_attempts,
)
from harden.losses import CrossEntropy, LossFunction, Margin
from harden.models import Classifier
from harden.threats import Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT = Linf("0.1")


def still(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    """An attack that does nothing."""
    return x


def fired(checks: tuple[TrustCheck, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def check(checks: tuple[TrustCheck, ...], name: str) -> TrustCheck:
    (found,) = (check for check in checks if check.name == name)
    return found


# What they say


def attempts() -> tuple[Attempt, ...]:
    white = Attempt("white", PGD(), CrossEntropy)
    black = Attempt("black", RandomNoise(), Margin)
    return (white, black, *closing_attempts([white], differentiable=True))


@pytest.mark.parametrize(
    ("place", "name", "most"),
    [
        (1, "black box beats white box", 10),
        (2, "one step beats many", 5),
        (3, "noise beats the attacks", 5),
        (4, "complete optimisation", 3),
    ],
)
def test_each_fires_alone_above_its_share(place: int, name: str, most: int) -> None:
    for broken in (0, most, most + 1, 100):
        by = torch.full((1000,), -1)
        by[:broken] = place
        by[500:600] = 0
        found = comparison_checks(attempts(), by)
        assert fired(found) == ([name] if broken > most else [])


def test_twice_the_steps_count_where_the_share_is_shown_to_be_exceeded() -> None:
    """By the binomial tail: so many of n are seen in less than 1 of 20 cases at a true share of 0.5 %."""
    for n in (20, 60, 128, 256, 1000):
        met, by = min(n, TWICE_ON), torch.full((n,), -1)
        for broken in (2, 3, 4, 6):
            by[:broken] = 4
            tail = 1 - sum(comb(met, k) * 0.005**k * 0.995 ** (met - k) for k in range(broken))
            found = fired(comparison_checks(attempts(), by))
            assert found == (["complete optimisation"] if broken > 2 and tail < 0.05 else [])


def test_two_images_are_no_sign_however_few_there_are() -> None:
    for n in (3, 10, 50):
        by = torch.full((n,), -1)
        by[:2] = 3
        assert fired(comparison_checks(attempts(), by)) == []
        by[:3] = 3
        assert fired(comparison_checks(attempts(), by)) == ["noise beats the attacks"]
        assert check(comparison_checks(attempts(), by), "noise beats the attacks").value == pytest.approx(
            3 / n
        )


def test_black_boxes_before_the_first_white_box_are_no_rivals() -> None:
    black, white = Attempt("black", RandomNoise(), Margin), Attempt("white", PGD())
    by = torch.zeros(50, dtype=torch.int64)
    assert fired(comparison_checks((black, white), by)) == []
    assert fired(comparison_checks((white, black), by + 1)) == ["black box beats white box"]
    assert fired(comparison_checks((black,), by)) == []


def test_an_attack_that_does_nothing_is_found_out(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:80], digits.test.y[:80])
    found = evaluate(plain, data, THREAT, [Attempt("mine", still)])
    assert found.status == "unreliable"
    assert "one step beats many" in fired(found.checks)
    # Their witnesses count: nobody claims an image that is known to be broken.
    broken = {record.name: record.broken for record in found.attempts}
    assert broken["mine"] == 0
    assert sum(broken.values()) == int(found.broken.sum()) == len(found.witnesses)


def test_too_few_steps_are_found_out(hardened: Classifier, digits: Splits) -> None:
    data = (digits.test.x, digits.test.y)
    timid = [Attempt("timid", PGD(steps=2, step_size=0.2, random_start=False, keep_best=False), CrossEntropy)]
    found = evaluate(hardened, data, THREAT, timid)
    assert check(found.checks, "complete optimisation").value > 0.005
    doubled = found.attempts[-1]
    assert (doubled.name, doubled.attempted <= TWICE_ON) == (TWICE, True)
    assert "complete optimisation" not in fired(evaluate(hardened, data, THREAT, pgd_suite(20, 1)).checks)


def test_the_record_does_not_depend_on_the_batch(hardened: Classifier, digits: Splits) -> None:
    """The doubled attempt goes by position, so 300 images in any batches meet it alike."""
    data = (digits.test.x[:300], digits.test.y[:300])
    one, other = (evaluate(hardened, data, THREAT, pgd_suite(3, 1), batch_size=size) for size in (300, 41))
    assert [record.attempted for record in one.attempts] == [record.attempted for record in other.attempts]
    assert int((one.broken_by != other.broken_by).sum()) <= 1  # rounding between batch sizes
    assert one.attempts[-1].attempted < one.attempts[-2].attempted
