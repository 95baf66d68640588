"""Splits by signs: both signs are tried, and each part's bound holds for all of its points."""

from __future__ import annotations

import pytest
import torch

from harden.bounds import Program, Region
from harden.bounds.branch_and_bound.relu_splits import SignSplit, rectifier_inputs
from harden.bounds.branch_and_bound.splits import VerificationQueries
from harden.bounds.certification import margin_rows
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS


def test_the_values_that_rectifiers_read_have_places_without_gaps() -> None:
    program = Program.of(read(KINDS["dense"](0).model()))
    found = relax(program, Region.around(torch.full((1, 6), 0.5), Linf("1/10")), backward=False)
    read_by_relu = [step.name for step in program.steps if step.size == (16,)][::2]
    places = rectifier_inputs(found)
    assert list(places) == read_by_relu
    assert list(places.values()) == [slice(0, 16), slice(16, 32)]


def test_a_part_that_nothing_lies_in_is_proved() -> None:
    """A value that is negative on the whole region has no point where it is at least 0."""
    program = Program.of(read(KINDS["dense"](1).model()))
    found = relax(program, Region.around(torch.full((1, 6), 0.5), Linf("1/100")))
    rows, image = margin_rows(torch.tensor([0]), program.classes, found.region.lower)
    split = SignSplit(found, VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1)), 1, 0.1)
    name, at = next(iter(split.values.items()))
    negative = int((found.intervals[name][1].flatten() < 0).nonzero()[0]) + at.start
    signs, free = split.first(torch.arange(len(rows)))
    signs[0, negative] = 1
    bounds = split.bounded(torch.arange(len(rows)), (signs, free)).bounds
    assert bounds[0] == torch.inf
    assert bool((bounds[1:] < torch.inf).all())


def test_both_signs_are_tried() -> None:
    program = Program.of(read(KINDS["dense"](1).model()))
    found = relax(program, Region.around(torch.full((1, 6), 0.5), Linf("1/10")))
    rows, image = margin_rows(torch.tensor([0]), program.classes, found.region.lower)
    split = SignSplit(found, VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1)), 1, 0.1)
    place = torch.tensor([3, 0, 20])
    signs, _ = split.halves(split.first(torch.arange(3)), place)
    for half, sign in ((signs[:3], 1), (signs[3:], -1)):
        assert half[torch.arange(3), place].tolist() == [sign] * 3
        assert int(half.abs().sum()) == 3


@pytest.mark.parametrize("kind", ["dense", "conv", "residual", "leakyrelu"])
def test_a_part_is_bounded_below_all_points_that_have_its_signs(kind: str) -> None:
    """Signs taken from points themselves, so that parts are not empty, and multipliers of any size."""
    built = KINDS[kind](1)
    graph = read(built.model())
    program = Program.of(graph)
    x = torch.rand(1, *built.shape, generator=torch.Generator().manual_seed(0))
    y = graph.run(x).argmax(1)
    generator = torch.Generator().manual_seed(2)
    points = (x + (torch.rand(3000, *built.shape, generator=generator) * 2 - 1) / 10).clamp(0, 1)
    values = graph.values(points)
    with torch.no_grad():
        found = relax(program, Region.around(x, Linf("1/10")))
        rows, image = margin_rows(y, program.classes, found.region.lower)
        asked = VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1))
        split = SignSplit(found, asked, 2, 0.1)
        names = [name for name in values if name in split.values]
        seen = torch.cat([values[name].flatten(1).sign() for name in names], 1).to(torch.int8)
        margins = values[program.output].double() @ rows.mT
        for number in range(30):
            signs, free = split.first(torch.arange(len(rows)))
            chosen = torch.randperm(seen.shape[1], generator=generator)[: 1 + number % 12]
            signs[:, chosen] = seen[number, chosen]
            free = free + 3 * torch.rand(free.shape, generator=generator)
            bounds = split.bounded(torch.arange(len(rows)), (signs, free)).bounds
            inside = (seen[:, chosen] * seen[number, chosen] >= 0).all(1)
            assert bool(inside.any())
            assert bool((bounds <= margins[inside].amin(0)).all())
