"""An assignment satisfies a property or not, by exact arithmetic and by what is written."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from harden.bounds.vnnlib.check_counterexample import satisfies
from harden.bounds.vnnlib.parse import parse
from harden.errors import InputError

HEAD = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))


def holds(formula: str, x: tuple[float, float] = (0.0, 0.0), y: tuple[float, float] = (0.0, 0.0)) -> bool:
    return satisfies(parse(f"{HEAD}(assert {formula})"), x, y)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("(<= Y_0 1)", True),
        ("(< Y_0 1)", False),
        ("(>= Y_0 1)", True),
        ("(> Y_0 1)", False),
        ("(= Y_0 1)", True),
        ("(= Y_0 1.0000001)", False),
        ("(<= Y_0 Y_1)", True),
        ("(and (<= Y_0 1) (>= Y_1 3))", False),
        ("(or (<= Y_0 0) (>= Y_1 2))", True),
        ("(<= (+ Y_0 Y_1) 3)", True),
        ("(< (+ Y_0 Y_1) 3)", False),
        ("(<= (- Y_0 Y_1) -1)", True),
        ("(>= (- Y_0) -1)", True),
        ("(<= (* 3 Y_0) 3)", True),
        ("(<= (* Y_1 -0.5) -1)", True),
        ("(<= X_0 0.5)", True),
        ("(< X_0 0.5)", False),
    ],
)
def test_each_form(formula: str, expected: bool) -> None:
    assert holds(formula, (0.5, 0.25), (1.0, 2.0)) is expected


def test_decimals_are_decimals() -> None:
    """0.1 as a float32 is above 1/10, and 16777217 is no float32."""
    tenth = float(np.float32(0.1))
    assert not holds("(<= X_0 0.1)", (tenth, 0.0))
    assert holds("(<= X_0 0.10000001)", (tenth, 0.0))
    assert not holds("(<= Y_0 16777215.9)", y=(16777216.0, 0.0))


def test_no_number_satisfies_nothing() -> None:
    for number in (float("nan"), float("inf"), -float("inf")):
        assert not holds("(>= X_0 -1)", y=(number, 0.0))
        assert not holds("(>= X_0 -1)", x=(number, 0.0))


def test_the_count_of_numbers_is_checked() -> None:
    with pytest.raises(InputError, match="3 numbers for X; expected 2"):
        satisfies(parse(f"{HEAD}(assert (<= Y_0 1))"), (0, 0, 0), (0, 0))


def test_it_agrees_with_the_clauses_that_proofs_and_attacks_work_on() -> None:
    """The clauses are a normal form of the same formulas: two roads to one answer."""
    rng, seen = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(300):
        text = HEAD + f"(assert {formula(rng, 3)})(assert {formula(rng, 1)})"
        given = parse(text)
        x, y = rng.integers(-2, 3, 2).tolist(), rng.integers(-2, 3, 2).tolist()
        by_clauses = any(
            all(
                (low is None or low <= value) and (high is None or value <= high)
                for low, high, value in zip(clause.lower, clause.upper, x, strict=True)
            )
            and all(
                sum((a * Fraction(b) for a, b in zip(row, y, strict=True)), Fraction(0)) <= limit
                for row, limit in clause.rows
            )
            for clause in given.clauses
        )
        assert satisfies(given, x, y) == by_clauses
        seen[by_clauses] += 1
    assert min(seen.values()) > 30


def formula(rng: np.random.Generator, depth: int) -> str:
    if depth and rng.random() < 0.7:
        parts = " ".join(formula(rng, depth - 1) for _ in range(2))
        return f"({rng.choice(['and', 'or'])} {parts})"
    sign = rng.choice(["<=", ">="])
    if rng.random() < 0.4:
        return f"({sign} X_{rng.integers(2)} {rng.integers(-2, 3)})"
    return f"({sign} (+ (* {rng.integers(-2, 3)} Y_0) (* 2 Y_1)) {rng.integers(-3, 4)})"
