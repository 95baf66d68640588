"""The three answers of the gate: their words, their exit codes, and which code a verdict has."""

from __future__ import annotations

import pytest

from harden.errors import BaselineError, HardenError, InputError
from harden.regression.gate_answers import GOOD, REGRESSED, UNDECIDED, GateAnswer
from harden.regression.paired_comparison import Pairs
from harden.regression.verdict import Comparison, Rule, judge

PAIRS = {
    GateAnswer.PASS: Pairs(1000, 500, 10, 8),
    GateAnswer.FAIL: Pairs(1000, 500, 10, 50),
    GateAnswer.INCONCLUSIVE: Pairs(1000, 500, 20, 30),
}


def test_an_answer_is_its_word() -> None:
    assert [str(answer) for answer in GateAnswer] == ["PASS", "FAIL", "INCONCLUSIVE"]
    assert all(GateAnswer(str(answer)) is answer for answer in GateAnswer)


def test_the_codes_are_those_of_the_manual() -> None:
    assert (GOOD, REGRESSED, UNDECIDED) == (0, 1, 3)


@pytest.mark.parametrize("kind", [HardenError, InputError, BaselineError])
def test_an_undecided_gate_is_no_error(kind: type[HardenError]) -> None:
    assert kind.exit_code != UNDECIDED


@pytest.mark.parametrize(
    ("answer", "usual", "strict"),
    [
        (GateAnswer.PASS, GOOD, GOOD),
        (GateAnswer.FAIL, REGRESSED, REGRESSED),
        (GateAnswer.INCONCLUSIVE, GOOD, UNDECIDED),
    ],
)
def test_the_code_of_a_verdict(answer: GateAnswer, usual: int, strict: int) -> None:
    verdict = judge([Comparison("linf 1/10", "robust", PAIRS[answer])], Rule())
    assert verdict.state is answer
    assert verdict.exit_code() == usual
    assert verdict.exit_code(inconclusive_fails=True) == strict
