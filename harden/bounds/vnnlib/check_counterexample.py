"""Exact check that an input and its output in a runtime satisfy a VNN-LIB property.

It goes by the assertions as they were written, and not by the clauses that bounds and attacks work on: strict
comparisons are strict here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise

from harden.bounds.vnnlib.parse import Property
from harden.bounds.vnnlib.s_expressions import Expression
from harden.errors import InputError


def satisfies(given: Property, x: Iterable[float], y: Iterable[float]) -> bool:
    """True if every assertion holds of X = x and Y = y, as rational numbers.

    Args:
        given: the property.
        x: its inputs, in order; float32 numbers, taken for what they are.
        y: its outputs, likewise.

    Raises:
        InputError: there are more or fewer of them than the property has.
    """
    values: dict[str, Fraction] = {}
    for letter, numbers, count in (("X", x, given.inputs), ("Y", y, given.outputs)):
        found = [float(number) for number in numbers]
        if len(found) != count:
            raise InputError(f"{len(found)} numbers for {letter}", str(count), "give one for each variable")
        try:
            values |= {f"{letter}_{at}": Fraction(number) for at, number in enumerate(found)}
        except (OverflowError, ValueError):
            return False  # NaN or infinity: no number, which satisfies nothing
    return all(_holds(assertion, values) for assertion in given.asserted)


def _holds(formula: Expression, values: Mapping[str, Fraction]) -> bool:
    match formula:
        case ["and", *parts]:
            return all(_holds(part, values) for part in parts)
        case ["or", *parts]:
            return any(_holds(part, values) for part in parts)
        case ["<=", *terms]:
            return all(one <= other for one, other in pairwise(_values(terms, values)))
        case ["<", *terms]:
            return all(one < other for one, other in pairwise(_values(terms, values)))
        case [">=", *terms]:
            return all(one >= other for one, other in pairwise(_values(terms, values)))
        case [">", *terms]:
            return all(one > other for one, other in pairwise(_values(terms, values)))
        case ["=", *terms]:
            return all(one == other for one, other in pairwise(_values(terms, values)))
    raise TypeError(f"{formula}, which the parser does not let through")


def _values(terms: list[Expression], values: Mapping[str, Fraction]) -> list[Fraction]:
    return [_value(term, values) for term in terms]


def _value(term: Expression, values: Mapping[str, Fraction]) -> Fraction:
    match term:
        case str() as word:
            return values[word] if word in values else Fraction(word)
        case ["+", *parts]:
            return sum(_values(parts, values), Fraction(0))
        case ["-", only]:
            return -_value(only, values)
        case ["-", first, *parts]:
            return _value(first, values) - sum(_values(parts, values), Fraction(0))
        case ["*", one, other]:
            return _value(one, values) * _value(other, values)
    raise TypeError(f"{term}, which the parser does not let through")
