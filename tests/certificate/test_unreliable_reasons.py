"""The words for a number that is not trusted: reasons with their numbers, and the command to run next."""

from __future__ import annotations

import pytest

from harden.certificate import schema as s
from harden.certificate.unreliable_reasons import LONGER, TOO_WEAK, next_attacks, next_step, reasons, suite_of
from harden.evaluation import pgd_suite, quick, standard, thorough
from harden.verifier.recount import _THRESHOLDS


def check(name: str, value: float, threshold: float = 0.005) -> s.CheckRecord:
    return s.CheckRecord(
        name=name,
        value=value,
        threshold=threshold,
        passed=value <= threshold,
        meaning="share of all, 3 of 256",
        action="mend it",
    )


FIRED, QUIET = check("complete optimisation", 3 / 256), check("zero gradients", 0.0)


def test_a_reason_names_the_check_its_numbers_and_what_to_do() -> None:
    said = "complete optimisation: share of all, 3 of 256: 0.0117, expected no more than 0.005; mend it"
    assert reasons([QUIET, FIRED]) == (said,)
    assert reasons([QUIET]) == ()


def test_suites_are_known_by_their_attempts() -> None:
    for suite, name in ((pgd_suite(), ""), (quick(), ""), (standard(), "standard"), (thorough(), "thorough")):
        assert suite_of(attempt.name for attempt in suite) == name


@pytest.mark.parametrize(
    ("suite", "options"),
    [
        ("pgd", "--attacks standard"),
        ("quick", "--attacks standard"),
        ("", "--attacks standard"),
        ("standard", "--attacks thorough"),
        ("thorough", LONGER),
    ],
)
def test_attacks_that_were_too_weak_are_followed_by_stronger_ones(suite: str, options: str) -> None:
    assert next_attacks([QUIET, FIRED], suite) == options
    step = next_step([QUIET, FIRED], suite, "harden evaluate x", "--attacks own")
    assert str(step) == f"next: harden evaluate x {options}"


def test_where_no_attack_would_help_the_cause_comes_first() -> None:
    fired = check("zero gradients", 1.0, 0.05)
    assert next_attacks([fired], "quick") == ""
    step = next_step([fired], "quick", "harden evaluate x", "--attacks quick")
    assert str(step) == "next, once the cause is mended: harden evaluate x --attacks quick"
    assert next_step([fired], "standard", "harden evaluate x").command == "harden evaluate x"


def test_what_is_too_weak_is_a_trust_check() -> None:
    assert set(_THRESHOLDS) > TOO_WEAK
