"""Nested lists and exact numbers of a specification, and their limits."""

from __future__ import annotations

from fractions import Fraction

import pytest

from harden.bounds.vnnlib.s_expressions import bounded, expressions, number_of, shown
from harden.errors import InputError
from harden.system.size_limits import PROPERTY_DEPTH, PROPERTY_DIGITS, PROPERTY_WORDS


def test_lists_at_the_top_and_comments() -> None:
    text = "(a (b c) ()) ; (not this)\n(d\n;(nor this\n e)()"
    assert list(expressions(text)) == [["a", ["b", "c"], []], ["d", "e"], []]
    assert list(expressions(" ; nothing")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(a", "never closed"),
        ("(a))", "closes nothing"),
        ("a", "'a' outside of parentheses"),
        ("(a) b", "'b' outside of parentheses"),
    ],
)
def test_parentheses_that_do_not_match(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(expressions(text))


def test_more_words_or_levels_than_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROPERTY_WORDS.variable, "6")
    monkeypatch.setenv(PROPERTY_DEPTH.variable, "3")
    assert list(expressions("((( )))")) == [[[[]]]]
    with pytest.raises(InputError, match=PROPERTY_DEPTH.variable):
        list(expressions("(((("))
    with pytest.raises(InputError, match=PROPERTY_WORDS.variable):
        list(expressions("(a b c d e)"))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", Fraction(1)),
        ("-0.25", Fraction(-1, 4)),
        ("+.5", Fraction(1, 2)),
        ("3.", Fraction(3)),
        ("1e-3", Fraction(1, 1000)),
        ("-2.5E+2", Fraction(-250)),
        ("2/6", Fraction(1, 3)),
        ("0.1", Fraction(1, 10)),
    ],
)
def test_numbers_are_exact(word: str, value: Fraction) -> None:
    assert number_of(word) == value


@pytest.mark.parametrize(
    "word", ["", "x", "1_0", "0x1", "nan", "inf", "1e", "1/0", "1.5/2", "\u0661", "--1", "1e1.5"]
)
def test_what_is_no_number(word: str) -> None:
    with pytest.raises(InputError, match="a number or a declared variable"):
        number_of(word)


def test_numbers_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROPERTY_DIGITS.variable, "10")
    assert number_of("1234567890") == 1234567890
    assert number_of("1e-10") == Fraction(1, 10**10)
    for word in ("12345678901", "1e11", "1e-11", "1e" + "9" * 19):
        with pytest.raises(InputError, match=PROPERTY_DIGITS.variable):
            number_of(word)
    assert bounded(Fraction(2**80 - 1, 3)) == Fraction(2**80 - 1, 3)
    for value in (Fraction(2**80), Fraction(1, 2**80 + 1)):
        with pytest.raises(InputError, match="computed from others and very long"):
            bounded(value)


def test_an_expression_is_shown_by_its_beginning() -> None:
    assert shown(["<=", ["+", "a", "b"], "1"]) == "(<= (+ a b) 1)"
    assert len(shown([["word"] * 10_000] * 10_000)) == 60
    assert shown("w" * 100) == "w" * 60
