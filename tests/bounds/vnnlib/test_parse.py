"""VNN-LIB specifications: what the competitions write, exactly, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest

from harden.bounds.vnnlib.parse import Clause, parse
from harden.errors import InputError

HEAD = """
; two inputs, three outputs
(declare-const X_0 Real) (declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(declare-const Y_2 Real)
(assert (>= X_0 0.1)) (assert (<= X_0 0.3)) ; a box
(assert (>= X_1 -1e-3)) (assert (<= X_1 2))
"""
BOX = ((Fraction(1, 10), Fraction(-1, 1000)), (Fraction(3, 10), Fraction(2)))


def row(*numbers: int, at_most: Fraction | int = 0) -> tuple[tuple[Fraction, ...], Fraction]:
    return tuple(Fraction(number) for number in numbers), Fraction(at_most)


def test_a_conjunction() -> None:
    found = parse(HEAD + "(assert (<= Y_0 Y_1)) (assert (>= Y_2 3.5))")
    assert (found.inputs, found.outputs) == (2, 3)
    assert found.clauses == (Clause(*BOX, (row(1, -1, 0), row(0, 0, -1, at_most=Fraction(-7, 2)))),)


def test_any_other_class_ahead_is_one_clause_each() -> None:
    found = parse(HEAD + "(assert (or (and (>= Y_1 Y_0)) (and (>= Y_2 Y_0))))")
    assert [clause.rows for clause in found.clauses] == [(row(1, -1, 0),), (row(1, 0, -1),)]


def test_boxes_in_a_disjunction() -> None:
    text = HEAD + "(assert (or (and (<= X_0 0.2) (>= Y_0 Y_1)) (and (>= X_0 0.25) (<= Y_0 0))))"
    one, other = parse(text).clauses
    assert (one.lower[0], one.upper[0]) == (Fraction(1, 10), Fraction(1, 5))
    assert (other.lower[0], other.upper[0]) == (Fraction(1, 4), Fraction(3, 10))


def test_assertions_multiply() -> None:
    either = "(assert (or (<= Y_0 Y_1) (<= Y_0 Y_2)))"
    assert (
        len(parse(HEAD + either + either + "(assert (and (<= Y_1 1) (or (<= Y_2 1) (>= Y_2 2))))").clauses)
        == 8
    )


def test_linear_terms() -> None:
    (clause,) = parse(HEAD + "(assert (<= (+ (* 2.0 Y_0) (- Y_1) 1) (- (* Y_2 3) 4 Y_0)))").clauses
    assert clause.rows == (row(3, -1, -3, at_most=-5),)
    (clause,) = parse(HEAD + "(assert (= Y_0 1))").clauses
    assert clause.rows == (row(1, 0, 0, at_most=1), row(-1, 0, 0, at_most=-1))


def test_an_assertion_that_never_holds_leaves_a_row_that_never_does() -> None:
    (clause,) = parse(HEAD + "(assert (<= 2 1))").clauses
    assert clause.rows == (row(0, 0, 0, at_most=-1),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(assert (<= (* Y_0 Y_1) 1))", "products with constants"),
        ("(assert (<= X_0 Y_0))", "bounds of single inputs"),
        ("(assert (<= X_0 X_1))", "bounds of single inputs"),
        ("(assert (=> (<= Y_0 1) (<= Y_1 1)))", "and, or, and comparisons"),
        ("(assert (<= Y_9 1))", "'Y_9'; expected VNN-LIB 1.0: a number or a declared variable"),
        ("(assert (<= Y_0 1)", "never closed"),
        ("(assert (<= Y_0 1)))", "closes nothing"),
        ("(check-sat)", "declare-const and assert"),
        ("(declare-const Z_0 Real)", "the variable Z_0"),
        ("(declare-const X_7 Real)", "without gaps"),
        ("stray", "outside of parentheses"),
        (
            "(assert (or " + "(<= Y_0 1)" * 101 + "))" + "(assert (or " + "(<= Y_0 1)" * 100 + "))",
            "10,100 clauses",
        ),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        parse(HEAD + text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_without_variables() -> None:
    with pytest.raises(InputError, match="variables X"):
        parse("")


@pytest.mark.parametrize("number", ["1e1001", "-1e-99999999", "1e999999999999999999"])
def test_an_exponent_without_end_is_refused(number: str) -> None:
    with pytest.raises(InputError, match="exponents up to 1000"):
        parse(HEAD + f"(assert (<= Y_0 {number}))")
    assert parse(HEAD + "(assert (<= Y_0 1e1000))").clauses[0].rows[0][1] == Fraction(10) ** 1000
