"""VNN-LIB properties and baselines, mutated, and what their readers make of them."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from benchmarks.fuzzing.mutations import Mutated
from benchmarks.fuzzing.oracle import DefectError
from harden.bounds.vnnlib.check_counterexample import satisfies
from harden.bounds.vnnlib.parse import Clause, Property, parse
from harden.regression import baseline
from harden.regression.baseline_records import Baseline, described

PROPERTY: Final = """; two inputs, three outputs
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(declare-const Y_2 Real)
(assert (>= X_0 0.1))
(assert (<= X_0 0.3))
(assert (and (>= X_1 -1e-3) (<= X_1 2)))
(assert (or (and (>= Y_1 Y_0) (<= X_0 0.2)) (and (> (+ (* 2.0 Y_2) 1) Y_0) (< Y_1 3.5))))
"""
BASELINE: Final = Path(__file__).parents[2] / "tests" / "gate" / "robustness-baseline.json"
_NUMBERS: Final = (
    "1e400",
    "-1e400",
    "1e-400",
    "1e1000",
    "1e1001",
    "1e1000000000",
    "1e1_000_000_000",
    "9" * 5000,
    "0." + "1" * 100_000,
    "1/3",
    "1/0",
    "nan",
    "inf",
    "0x10",
    "1e",
    ".",
    "1e\u0661\u0660",
)
_SPACE: Final = ((0.05, 0.0), (0.15, 1.0), (0.25, 2.0), (0.3, -0.001), (1.0, 3.0))
_ANSWERS: Final = ((0.0, 0.0, 0.0), (1.0, 2.0, 0.0), (2.0, 1.0, 0.5), (-1e30, 1e30, 0.0))


def property_text(data: bytes, draw: random.Random) -> Mutated:
    """A mutation of VNN-LIB as text: numbers, depth, products of clauses, variables, words."""
    text = data.decode()
    words = text.split()
    name = draw.choice(("number", "deep", "wide", "clauses", "variables", "swap", "drop", "chain"))
    if name == "number":
        old = draw.choice(("0.1", "0.3", "-1e-3", "2.0", "3.5"))
        text = text.replace(old, draw.choice(_NUMBERS), 1)
    elif name == "deep":
        depth, kind = (
            draw.choice((50, 99, 100, 980, 100_000)),
            draw.choice(("(and ", "(or ", "(- ", "((", "(* 2 ")),
        )
        text += "(assert " + kind * depth + "(<= Y_0 1)" + ")" * (depth * kind.count("(") + 1)
    elif name == "wide":
        text += "(assert (" + draw.choice(("and", "or")) + "(<= Y_0 1)" * draw.choice((100, 1000)) + "))"
    elif name == "clauses":
        text += "(assert (or (<= Y_0 1) (>= Y_1 2)))" * draw.choice((3, 13, 14, 3000))
    elif name == "variables":
        text += "".join(
            f"(declare-const {draw.choice('XYZ')}_{at} Real)" for at in range(draw.choice((1, 5, 9000)))
        )
    elif name == "swap":
        one, other = draw.sample(range(len(words)), 2)
        words[one], words[other] = words[other], words[one]
        text = " ".join(words[7:])
    elif name == "drop":
        del words[draw.randrange(len(words))]
        text = " ".join(words[7:])
    else:
        text += "(assert (<= Y_0 " + "(* 1e900 " * draw.choice((1, 5, 60)) + "1" + ")" * 100
    return f"property {name}", text.encode()


def read_property(content: bytes) -> str:
    """Parse a property; `same` or `variant`, which is held to what its assertions say at some points.

    Raises:
        DefectError: an assignment satisfies the assertions as written, and no clause.
        HardenError: it was refused.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "refused"
    found = parse(text)
    if found.clauses == parse(PROPERTY).clauses:
        return "same"
    _hold(found)
    return "variant"


def _hold(found: Property) -> None:
    for x in _SPACE:
        for y in _ANSWERS:
            one = [x[at % 2] for at in range(found.inputs)]
            other = [y[at % 3] for at in range(found.outputs)]
            if satisfies(found, one, other) and not any(
                _meets(clause, one, other) for clause in found.clauses
            ):
                raise DefectError(f"satisfied by {x}, {y}, and no clause is")


def _meets(clause: Clause, x: list[float], y: list[float]) -> bool:
    inside = all(
        (low is None or low <= Fraction(value)) and (high is None or Fraction(value) <= high)
        for value, low, high in zip(x, clause.lower, clause.upper, strict=True)
    )
    return inside and all(
        sum((factor * Fraction(value) for factor, value in zip(row, y, strict=True)), Fraction(0)) <= limit
        for row, limit in clause.rows
    )


def read_baseline(path: Path, good: Baseline) -> str:
    """Read a baseline; no digest covers it, so what is valid is a variant, and counts its own bits.

    Raises:
        DefectError: it does not read back as what it was read as.
        HardenError: it was refused.
    """
    found = baseline.read(path, "write it")
    if found == good:
        return "same"
    again: Any = json.loads(baseline.rendered(found))
    if again != described(found):
        raise DefectError("a baseline that is written as another one")
    return "variant"
