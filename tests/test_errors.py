"""Errors: three parts in one line, exit codes, and survival of a trip between processes."""

from __future__ import annotations

import pickle

import pytest

from harden.errors import (
    BaselineError,
    BrokenClaimError,
    ExportError,
    HardenError,
    HeldError,
    InputError,
    RegressionError,
)

KINDS = [
    *((HardenError, 2), (InputError, 2), (HeldError, 2), (ExportError, 2)),
    *((BrokenClaimError, 1), (RegressionError, 1), (BaselineError, 4)),
]


@pytest.mark.parametrize(("kind", "exit_code"), KINDS)
def test_an_error_says_what_was_seen_what_was_expected_and_what_to_do(
    kind: type[HardenError], exit_code: int
) -> None:
    error = kind("eps 8", "at most 1", "did you mean 8/255?")
    assert str(error) == "eps 8; expected at most 1; did you mean 8/255?"
    assert (error.seen, error.expected, error.instead) == ("eps 8", "at most 1", "did you mean 8/255?")
    assert isinstance(error, HardenError)
    assert kind.exit_code == exit_code


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_an_error_keeps_its_parts_when_pickled(kind: type[HardenError]) -> None:
    error = kind("a", "b", "c")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.seen, again.expected, again.instead, str(again)) == ("a", "b", "c", str(error))


def test_only_an_answer_that_is_bad_exits_with_1() -> None:
    """1 means the answer is bad; usage and input are 2, so that CI never mistakes a typo for a regression."""
    assert [kind for kind, _ in KINDS if kind.exit_code == 1] == [BrokenClaimError, RegressionError]
