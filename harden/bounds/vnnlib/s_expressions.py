"""The nested lists that parentheses make, of bounded number and depth; exact numbers of bounded length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Final

from harden.errors import InputError
from harden.system.size_limits import PROPERTY_DEPTH, PROPERTY_DIGITS, PROPERTY_WORDS

Expression = str | list["Expression"]

_WORD: Final = re.compile(r";[^\n]*+|[()]|[^\s();]++")
# As Python's own Fraction reads them, but for underscores and digits of other scripts.
_NUMBER: Final = re.compile(r"[-+]?(?:\d+(?:/\d+|\.\d*)?|\.\d+)(?:[eE]([-+]?\d+))?", re.ASCII)
_LONGEST_EXPONENT: Final = 18
_BITS: Final = 8
"""A computed number may have so many binary digits for each decimal one that a written number may have."""
_SHOWN: Final = 60


def expressions(text: str) -> Iterator[Expression]:
    """Yield the lists at the top of a text; a comment runs from a semicolon to the end of its line.

    Raises:
        InputError: parentheses don't match, a word lies outside of them, or there are more words or levels
            than `PROPERTY_WORDS` and `PROPERTY_DEPTH`.
    """
    open_: list[list[Expression]] = []
    known: dict[str, str] = {}  # one object for all places in which a word occurs
    most, deepest = PROPERTY_WORDS.value, PROPERTY_DEPTH.value
    for number, found in enumerate(_WORD.finditer(text)):
        word = found.group()
        if number >= most:
            PROPERTY_WORDS.check("a specification", number + 1)
        if word[0] == ";":
            continue
        if word == "(":
            if len(open_) >= deepest:
                PROPERTY_DEPTH.check("a specification nested to a depth", len(open_) + 1)
            open_.append([])
        elif word == ")":
            if not open_:
                raise refusal("a parenthesis that closes nothing", "balanced parentheses")
            done = open_.pop()
            if open_:
                open_[-1].append(done)
            else:
                yield done
        elif open_:
            open_[-1].append(known.setdefault(word, word))
        else:
            raise refusal(f"{word[:40]!r} outside of parentheses", "declarations and assertions")
    if open_:
        raise refusal("a parenthesis that is never closed", "balanced parentheses")


def number_of(word: str) -> Fraction:
    """The rational number that a word writes in decimals.

    Raises:
        InputError: it writes none, or one of more digits than `PROPERTY_DIGITS`.
    """
    found = _NUMBER.fullmatch(word)
    if found is None:
        raise refusal(f"{word[:40]!r}", "a number or a declared variable")
    most, exponent = PROPERTY_DIGITS.value, found[1] or "0"
    if len(exponent) > _LONGEST_EXPONENT or abs(int(exponent)) > most or len(word) > most:
        raise refusal(
            f"{word[:40]!r}",
            f"numbers with exponents up to {most} and no more digits ({PROPERTY_DIGITS.variable})",
        )
    try:
        return Fraction(word)
    except (ValueError, ZeroDivisionError):
        raise refusal(f"{word[:40]!r}", "a number or a declared variable") from None


def bounded(value: Fraction) -> Fraction:
    """A computed number, refused where products have made it longer than numbers may be.

    Raises:
        InputError: it has more binary digits than eight for each of `PROPERTY_DIGITS`.
    """
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _BITS * PROPERTY_DIGITS.value:
        raise refusal(
            "a number that is computed from others and very long",
            f"numbers of some {PROPERTY_DIGITS.value} digits ({PROPERTY_DIGITS.variable})",
        )
    return value


def shown(expression: Expression) -> str:
    """The beginning of an expression."""
    if isinstance(expression, str):
        return expression[:_SHOWN]
    return f"({' '.join(shown(each) for each in islice(expression, _SHOWN // 2))})"[:_SHOWN]


def refusal(seen: str, expected: str) -> InputError:
    """That something is no property as it can be read."""
    return InputError(seen, f"VNN-LIB 1.0: {expected}", "write the property in that form")
