"""A parser of VNN-LIB 1.0: the conditions on input and output under which a property is violated.

The format of the neural network verification competitions: variables X_i and Y_j, and assertions that are
linear comparisons, joined by `and` and `or`. An assignment that satisfies all of them is a counterexample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, product
from math import prod
from typing import Final, final

from harden.bounds.vnnlib.s_expressions import Expression, bounded, expressions, number_of, refusal, shown
from harden.system.size_limits import PROPERTY_ATOMS

MOST_CLAUSES: Final = 10_000
_COUNTED: Final = 10**12

Linear = Mapping[str, Fraction]
"""Coefficients by variable; "" is the constant."""
_Alternatives = list[list[Linear]]
_ZERO: Final = Fraction(0)
_VARIABLE: Final = re.compile(r"[XY]_(?:0|[1-9]\d{0,8})", re.ASCII)


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
        clauses: in disjunction; strict comparisons include their edge.
        asserted: the assertions as they were written, evaluated by
            `harden.bounds.vnnlib.check_counterexample`.
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
            inputs with outputs or inputs with each other; it has more than 10,000 clauses, or more words,
            levels, comparisons or digits than `harden.system.size_limits` says.
    """
    declared: set[str] = set()
    formulas: list[_Alternatives] = []
    asserted = []
    for expression in expressions(text):
        match expression:
            case ["declare-const", str() as name, "Real"] | ["declare-fun", str() as name, [], "Real"]:
                if not _VARIABLE.fullmatch(name):
                    raise refusal(f"the variable {name[:40]}", "X_i and Y_j of one network")
                declared.add(name)
            case ["assert", body]:
                formulas.append(_alternatives(body, declared))
                asserted.append(body)
            case _:
                raise refusal(shown(expression), "declare-const and assert")
    inputs, outputs = _count(declared, "X"), _count(declared, "Y")
    return Property(inputs, outputs, _clauses(formulas, inputs, outputs), tuple(asserted))


def _clauses(formulas: list[_Alternatives], inputs: int, outputs: int) -> tuple[Clause, ...]:
    """All ways to choose one alternative of each assertion."""
    several = _chosen_from(formulas)
    common = _Bounds([None] * inputs, [None] * inputs, [])
    for formula in formulas:
        if len(formula) == 1:
            for atom in formula[0]:
                common.add(atom, outputs)
        PROPERTY_ATOMS.check("rows", len(common.rows) * outputs)
    base = common.clause()
    boxes = 0
    found = []
    for chosen in product(*several):
        clause = _with([atom for atoms in chosen for atom in atoms], base, outputs)
        # One without bounds of its own shares the tuples of the base, however many inputs there are.
        boxes += (clause.lower is not base.lower) * (2 * inputs)
        boxes += len(clause.rows) * outputs - len(base.rows)
        PROPERTY_ATOMS.check("clauses", boxes)
        found.append(clause)
    return tuple(found)


def _with(atoms: Sequence[Linear], base: Clause, outputs: int) -> Clause:
    """A clause with more atoms."""
    if all(_of_outputs(atom) for atom in atoms):
        more = _Bounds([], [], [])
        for atom in atoms:
            more.add(atom, outputs)
        return Clause(base.lower, base.upper, (*base.rows, *more.rows))
    bounds = _Bounds(list(base.lower), list(base.upper), list(base.rows))
    for atom in atoms:
        bounds.add(atom, outputs)
    return bounds.clause()


def _of_outputs(atom: Linear) -> bool:
    return all(name[0] == "Y" for name, factor in atom.items() if name and factor)


@final
@dataclass(frozen=True, slots=True)
class _Bounds:
    """A clause that is still being put together."""

    lower: list[Fraction | None]
    upper: list[Fraction | None]
    rows: list[tuple[tuple[Fraction, ...], Fraction]]

    def add(self, atom: Linear, outputs: int) -> None:
        """Sort sum <= 0 into bounds of inputs and rows of outputs."""
        names = {name for name, factor in atom.items() if name and factor}
        constant = atom.get("", _ZERO)
        if names and all(name.startswith("Y") for name in names):
            self.rows.append((tuple(atom.get(f"Y_{at}", _ZERO) for at in range(outputs)), -constant))
        elif len(names) == 1:
            (name,) = names
            at, bound = int(name[2:]), -constant / atom[name]
            ends, tighter = (self.upper, min) if atom[name] > 0 else (self.lower, max)
            known = ends[at]
            ends[at] = bound if known is None else tighter(bound, known)
        elif names:
            raise refusal(f"a comparison of {', '.join(sorted(names)[:8])}", "bounds of single inputs")
        elif constant > 0:
            self.rows.append(((_ZERO,) * outputs, -constant))  # false whatever the output is

    def clause(self) -> Clause:
        """The clause."""
        return Clause(tuple(self.lower), tuple(self.upper), tuple(self.rows))


def _alternatives(body: Expression, declared: set[str]) -> _Alternatives:
    """The disjunctive normal form of a formula: alternatives of atoms, each of which says sum <= 0."""
    match body:
        case ["and", *parts]:
            return _all_of([_alternatives(part, declared) for part in parts])
        case ["or", *parts]:
            return [each for part in parts for each in _alternatives(part, declared)]
        case ["<=" | "<", one, other]:
            return [[_difference(_linear(one, declared), _linear(other, declared))]]
        case [">=" | ">", one, other]:
            return [[_difference(_linear(other, declared), _linear(one, declared))]]
        case ["=", one, other]:
            left, right = _linear(one, declared), _linear(other, declared)
            return [[_difference(left, right), _difference(right, left)]]
    raise refusal(shown(body), "and, or, and comparisons by <=, >=, <, > and =")


def _all_of(formulas: list[_Alternatives]) -> _Alternatives:
    """One alternative of each, in every way."""
    # Those with one alternative come to it once, and not to a longer list each: that took the square of them.
    common = [atom for formula in formulas if len(formula) == 1 for atom in formula[0]]
    several = _chosen_from(formulas)
    PROPERTY_ATOMS.check("clauses", len(common) * prod(map(len, several)))
    return [[*common, *(atom for part in chosen for atom in part)] for chosen in product(*several)]


def _chosen_from(formulas: list[_Alternatives]) -> list[_Alternatives]:
    """The formulas with several alternatives, refused where too many ways to choose follow from them."""
    several = [formula for formula in formulas if len(formula) != 1]
    if not all(several):
        return [[]]
    total = 1
    for formula in several:
        total *= len(formula)
        if total > _COUNTED:
            break
    if total > MOST_CLAUSES:
        shown_ = f"{total:,}" if total <= _COUNTED else f"more than {_COUNTED:,}"
        raise refusal(f"a specification of {shown_} clauses", f"at most {MOST_CLAUSES:,}")
    PROPERTY_ATOMS.check(
        "clauses", sum(sum(map(len, formula)) * (total // len(formula)) for formula in several)
    )
    return several


def _linear(term: Expression, declared: set[str]) -> Linear:
    match term:
        case str() as word:
            if word in declared:
                return {word: Fraction(1)}
            return {"": number_of(word)}
        case ["+", *parts]:
            return _sum(_linear(part, declared) for part in parts)
        case ["-", only]:
            return _times(_linear(only, declared), Fraction(-1))
        case ["-", first, *parts]:
            rest = (_times(_linear(part, declared), Fraction(-1)) for part in parts)
            return _sum(chain([_linear(first, declared)], rest))
        case ["*", one, other]:
            left, right = _linear(one, declared), _linear(other, declared)
            for constant, factor in ((left, right), (right, left)):
                if not any(value for name, value in constant.items() if name):
                    return _times(factor, constant.get("", _ZERO))
    raise refusal(shown(term), "sums, and products with constants")


def _sum(parts: Iterable[Linear]) -> Linear:
    found: dict[str, Fraction] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = bounded(found.get(name, _ZERO) + value)
    return found


def _times(part: Linear, factor: Fraction) -> Linear:
    return {name: bounded(value * factor) for name, value in part.items()}


def _difference(one: Linear, other: Linear) -> Linear:
    return _sum([one, _times(other, Fraction(-1))])


def _count(declared: set[str], letter: str) -> int:
    numbers = sorted(int(name[2:]) for name in declared if name.startswith(letter))
    if not numbers or numbers != list(range(len(numbers))):
        raise refusal(f"variables {letter} {numbers[:8]}", f"{letter}_0, {letter}_1, ... without gaps")
    return len(numbers)
