"""Reads VNN-LIB 1.0: what an input and its output have to satisfy for a property to be broken.

The format of the neural network verification competitions: variables X_i and Y_j, and assertions that are
linear comparisons, joined by `and` and `or`. An assignment that satisfies all of them is a counterexample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Final, final

from harden.errors import InputError

MOST_CLAUSES: Final = 10_000
MOST_DIGITS: Final = 5_000
"""Exact numbers take as many digits as their exponent says."""

Linear = Mapping[str, Fraction]
"""Coefficients by variable; "" is the constant."""
Expression = str | list["Expression"]


@final
@dataclass(frozen=True, slots=True)
class Clause:
    """One way to break the property: an input in a box whose output satisfies every row.

    Args:
        lower: of each input; None where it has no bound.
        upper: likewise.
        rows: (coefficients of the outputs, b): sum_j a_j Y_j <= b.
    """

    lower: tuple[Fraction | None, ...]
    upper: tuple[Fraction | None, ...]
    rows: tuple[tuple[tuple[Fraction, ...], Fraction], ...]


@final
@dataclass(frozen=True, slots=True)
class Property:
    """The clauses of which one has to hold for a counterexample: the property holds if none can.

    Args:
        inputs: how many X there are.
        outputs: how many Y.
        clauses: in disjunction; strict comparisons stand in them with their edge.
        asserted: the assertions as they were written, which `harden.bounds.assignment` evaluates.
    """

    inputs: int
    outputs: int
    clauses: tuple[Clause, ...]
    asserted: tuple[Expression, ...] = ()


def parse(text: str) -> Property:
    """Read a specification.

    Strict comparisons are taken with their edge: what can't be met then can't be met without it either.

    Raises:
        InputError: it does not parse; it uses what is not linear, other variables, or comparisons that mix
            inputs with outputs or inputs with each other; it has more than 10,000 clauses.
    """
    declared: set[str] = set()
    formulas: list[list[list[Linear]]] = []
    asserted = []
    for expression in _expressions(text):
        match expression:
            case ["declare-const", str() as name, "Real"] | ["declare-fun", str() as name, [], "Real"]:
                if not re.fullmatch(r"[XY]_\d+", name):
                    raise _refusal(f"the variable {name}", "X_i and Y_j of one network")
                declared.add(name)
            case ["assert", body]:
                formulas.append(_alternatives(body, declared))
                asserted.append(body)
            case _:
                raise _refusal(f"{_shown(expression)}", "declare-const and assert")
    inputs, outputs = _count(declared, "X"), _count(declared, "Y")
    return Property(inputs, outputs, _clauses(formulas, inputs, outputs), tuple(asserted))


def _clauses(formulas: list[list[list[Linear]]], inputs: int, outputs: int) -> tuple[Clause, ...]:
    """All ways to choose one alternative of each assertion."""
    total = 1
    for formula in formulas:
        total *= len(formula)
    if total > MOST_CLAUSES:
        raise _refusal(f"a specification of {total:,} clauses", f"at most {MOST_CLAUSES:,}")
    single = [formula[0] for formula in formulas if len(formula) == 1]
    several = [formula for formula in formulas if len(formula) != 1]
    common = [atom for atoms in single for atom in atoms]
    return tuple(
        _clause([*common, *(atom for atoms in chosen for atom in atoms)], inputs, outputs)
        for chosen in product(*several)
    )


def _clause(atoms: list[Linear], inputs: int, outputs: int) -> Clause:
    """Sort sum <= 0 into bounds of inputs and rows of outputs."""
    lower: list[Fraction | None] = [None] * inputs
    upper: list[Fraction | None] = [None] * inputs
    rows = []
    for atom in atoms:
        names = {name for name, factor in atom.items() if name and factor}
        constant = atom.get("", Fraction(0))
        if names and all(name.startswith("Y") for name in names):
            rows.append((tuple(atom.get(f"Y_{at}", Fraction(0)) for at in range(outputs)), -constant))
        elif len(names) == 1:
            (name,) = names
            at, bound = int(name[2:]), -constant / atom[name]
            ends, tighter = (upper, min) if atom[name] > 0 else (lower, max)
            known = ends[at]
            ends[at] = bound if known is None else tighter(bound, known)
        elif names:
            raise _refusal(f"a comparison of {', '.join(sorted(names))}", "bounds of single inputs")
        elif constant > 0:
            rows.append(((Fraction(0),) * outputs, -constant))  # false whatever the output is
    return Clause(tuple(lower), tuple(upper), tuple(rows))


def _alternatives(body: Expression, declared: set[str]) -> list[list[Linear]]:
    """The disjunctive normal form of a formula: alternatives of atoms, each of which says sum <= 0."""
    match body:
        case ["and", *parts]:
            found: list[list[Linear]] = [[]]
            for part in parts:
                more = _alternatives(part, declared)
                if len(found) * len(more) > MOST_CLAUSES:
                    raise _refusal("a specification of too many clauses", f"at most {MOST_CLAUSES:,}")
                found = [[*one, *other] for one in found for other in more]
            return found
        case ["or", *parts]:
            return [each for part in parts for each in _alternatives(part, declared)]
        case ["<=" | "<", one, other]:
            return [[_difference(_linear(one, declared), _linear(other, declared))]]
        case [">=" | ">", one, other]:
            return [[_difference(_linear(other, declared), _linear(one, declared))]]
        case ["=", one, other]:
            left, right = _linear(one, declared), _linear(other, declared)
            return [[_difference(left, right), _difference(right, left)]]
    raise _refusal(_shown(body), "and, or, and comparisons by <=, >=, <, > and =")


def _linear(term: Expression, declared: set[str]) -> Linear:
    match term:
        case str() as word:
            if word in declared:
                return {word: Fraction(1)}
            return {"": _number(word)}
        case ["+", *parts]:
            return _sum([_linear(part, declared) for part in parts])
        case ["-", only]:
            return _times(_linear(only, declared), Fraction(-1))
        case ["-", first, *parts]:
            rest = [_times(_linear(part, declared), Fraction(-1)) for part in parts]
            return _sum([_linear(first, declared), *rest])
        case ["*", one, other]:
            left, right = _linear(one, declared), _linear(other, declared)
            for constant, factor in ((left, right), (right, left)):
                if not any(value for name, value in constant.items() if name):
                    return _times(factor, constant.get("", Fraction(0)))
    raise _refusal(_shown(term), "sums, and products with constants")


def _number(word: str) -> Fraction:
    exponent = re.search(r"[eE]([-+]?\d+)$", word)
    if exponent is not None and (len(exponent[1]) > 6 or abs(int(exponent[1])) > MOST_DIGITS):
        raise _refusal(f"{word[:40]!r}", f"numbers with exponents up to {MOST_DIGITS}")
    try:
        return Fraction(word)
    except (ValueError, ZeroDivisionError):
        raise _refusal(f"{word[:40]!r}", "a number or a declared variable") from None


def _sum(parts: list[Linear]) -> Linear:
    found: dict[str, Fraction] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found.get(name, Fraction(0)) + value
    return found


def _times(part: Linear, factor: Fraction) -> Linear:
    return {name: value * factor for name, value in part.items()}


def _difference(one: Linear, other: Linear) -> Linear:
    return _sum([one, _times(other, Fraction(-1))])


def _count(declared: set[str], letter: str) -> int:
    numbers = sorted(int(name[2:]) for name in declared if name.startswith(letter))
    if not numbers or numbers != list(range(len(numbers))):
        raise _refusal(f"variables {letter} {numbers[:8]}", f"{letter}_0, {letter}_1, ... without gaps")
    return len(numbers)


def _expressions(text: str) -> Iterator[Expression]:
    """The nested lists that parentheses make; a comment runs from a semicolon to the end of its line."""
    open_: list[list[Expression]] = []
    for word in re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text)):
        if word == "(":
            open_.append([])
        elif word == ")":
            if not open_:
                raise _refusal("a parenthesis that closes nothing", "balanced parentheses")
            done = open_.pop()
            if open_:
                open_[-1].append(done)
            else:
                yield done
        elif open_:
            open_[-1].append(word)
        else:
            raise _refusal(f"{word[:40]!r} outside of parentheses", "declarations and assertions")
    if open_:
        raise _refusal("a parenthesis that is never closed", "balanced parentheses")


def _shown(expression: Expression) -> str:
    if isinstance(expression, str):
        return expression[:60]
    return f"({' '.join(_shown(each) for each in expression)})"[:60]


def _refusal(seen: str, expected: str) -> InputError:
    return InputError(seen, f"VNN-LIB 1.0: {expected}", "write the property in that form")
