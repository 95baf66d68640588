"""Boxes of clauses: float32 limits that lie inside the exact ones, and the cube in which attacks search."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.bounds.vnnlib.parse import Clause, parse
from harden.evaluation.proofs.clause_boxes import LARGEST, ClauseBox, ClauseBoxes

HEAD = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
BOX = ("(>= X_0 -1)", "(<= X_0 1)", "(>= X_1 0.25)", "(<= X_1 0.5)")


def clauses_of(*assertions: str) -> list[Clause]:
    return list(parse(HEAD + "".join(f"(assert {each})" for each in assertions)).clauses)


def box_of(*assertions: str) -> ClauseBox | None:
    (clause,) = clauses_of(*assertions)
    return ClauseBox.of(clause)


numbers = st.decimals(-2, 2, places=9).map(lambda number: f"{number:f}")


@given(st.tuples(numbers, numbers))
def test_limits_are_the_outermost_floats_inside(ends: tuple[str, str]) -> None:
    low, high = sorted(ends, key=Fraction)
    found = box_of(f"(>= X_0 {low})", f"(<= X_0 {high})", *BOX[2:])
    if found is None:  # no float32 lies between them
        least = np.float32(float(low))
        below = least if Fraction(float(least)) >= Fraction(low) else np.nextafter(least, np.float32(9))
        assert Fraction(float(below)) > Fraction(high)
        return
    lower, upper = np.float32(float(found.lower[0])), np.float32(float(found.upper[0]))
    assert Fraction(low) <= Fraction(float(lower)) <= Fraction(float(upper)) <= Fraction(high)
    assert Fraction(float(np.nextafter(lower, np.float32(-9)))) < Fraction(low)
    assert Fraction(float(np.nextafter(upper, np.float32(9)))) > Fraction(high)


def test_bounds_beyond_float32() -> None:
    assert box_of("(>= X_0 1e39)", "(<= X_0 1e400)", *BOX[2:]) is None
    wide = box_of("(>= X_0 -1e400)", "(<= X_0 1e400)", *BOX[2:])
    assert wide is not None
    assert (float(wide.lower[0]), float(wide.upper[0])) == (-LARGEST, LARGEST)


def test_the_cube_covers_each_box_and_is_inverted() -> None:
    given = clauses_of(
        f"(or (and {' '.join(BOX)} (>= Y_0 1)) (and (>= X_0 2) (<= X_0 2) {' '.join(BOX[2:])}))"
    )
    boxes = ClauseBoxes([box for clause in given if (box := ClauseBox.of(clause))], (2,))
    corner = torch.ones(2, 2)
    assert torch.equal(boxes.placed(corner), boxes.upper)
    assert torch.equal(boxes.placed(-corner), boxes.lower)
    cube = torch.tensor([[0.5, -0.25], [0.5, 0.75]])
    inside = boxes.placed(cube)
    assert inside.tolist() == [[0.5, 0.34375], [2.0, 0.46875]]
    assert boxes.in_cube(inside[0], 0).tolist() == [0.5, -0.25]
    assert boxes.in_cube(inside[1], 1).tolist() == [0.0, 0.75]  # a side of length 0 has one point
    assert torch.equal(boxes.placed(cube[1:], torch.tensor([1])), inside[1:])


def test_slack_is_the_distance_of_each_row_to_its_limit() -> None:
    (clause,) = clauses_of(*BOX, "(<= Y_0 3)", "(>= Y_1 Y_0)")
    box = ClauseBox.of(clause)
    assert box is not None
    boxes = ClauseBoxes([box], (2,))

    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.stack((2 * x[:, 0], x[:, 1]), 1)

    slack = boxes.slack(network, torch.tensor([[1.0, 1.0]]))  # x = (1, 0.5), y = (2, 0.5)
    assert sorted(slack[0].tolist()) == [-1.5, 1.0]


def test_a_clause_without_rows_is_satisfied_everywhere() -> None:
    box = box_of(*BOX)
    assert box is not None
    assert ClauseBoxes([box], (2,)).slack(lambda x: x, torch.zeros(1, 2)).tolist() == [[0.0]]
