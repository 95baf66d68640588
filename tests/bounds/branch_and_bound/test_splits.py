"""Splits of the input's box: halves that hold every input, and bounds of each part."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.bounds import Program, Region
from harden.bounds.branch_and_bound.splits import InputSplit, VerificationQueries
from harden.bounds.certification import margin_rows
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import Graph, read
from harden.threats import L2, Linf, Threat
from tests.bounds.networks import KINDS


def queries(threat: Threat) -> tuple[InputSplit, Graph, Tensor, Tensor]:
    """The margins of two images, the graph, the rows and the images that they are about."""
    graph = read(KINDS["dense"](0).model())
    program = Program.of(graph)
    x = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
    found = relax(program, Region.around(x, threat))
    rows, image = margin_rows(torch.tensor([0, 1]), program.classes, found.region.lower)
    asked = VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1))
    return InputSplit(found, asked), graph, rows, image


def test_a_bound_is_below_all_points_of_its_part() -> None:
    for threat in (Linf("1/7"), L2("1/4")):
        split, graph, rows, _ = queries(threat)
        every = torch.arange(len(rows))
        lower, upper = split.halves(split.first(every), every % 6)
        query = every.repeat(2)
        with torch.no_grad():
            found = split.bounded(query, (lower, upper))
        shares = torch.rand(500, *lower.shape, generator=torch.Generator().manual_seed(1))
        points = lower + shares * (upper - lower)
        logits = graph.run(points.float().flatten(0, 1)).double().reshape(500, len(lower), -1)
        margins = (logits * rows[query]).sum(2)
        if isinstance(threat, L2):  # a part is the box within the ball
            centre = split.found.region.centre
            assert centre is not None
            outside = (points - centre[split.queries.image[query]]).norm(dim=2) > float(threat.eps)
            margins = torch.where(outside, torch.inf, margins)
        assert bool((found.bounds <= margins.amin(0)).all())
        assert bool(((found.points >= lower) & (found.points <= upper)).all())


def test_a_part_without_width_has_no_place_left() -> None:
    split, _, rows, _ = queries(Linf("1/7"))
    query = torch.arange(len(rows))
    lower, upper = split.first(query)
    lower[:, :3] = upper[:, :3]
    wide = split.bounded(query, (lower, upper)).place
    assert bool(((wide >= 3) & (wide < 6)).all())
    assert split.bounded(query, (upper, upper)).place.tolist() == [-1] * len(rows)
    assert not split.again


def test_both_halves_hold_every_input() -> None:
    built = KINDS["dense"](0)
    program = Program.of(read(built.model()))
    x = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
    found = relax(program, Region.around(x, Linf("1/7")))
    rows, image = margin_rows(torch.tensor([0, 1]), program.classes, found.region.lower)
    split = InputSplit(found, VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1)))
    lower, upper = split.first(torch.arange(len(rows)))
    place = torch.arange(len(rows)) % 6
    low, high = split.halves((lower, upper), place)
    n = len(rows)
    assert bool((torch.minimum(low[:n], low[n:]) == lower).all())
    assert bool((torch.maximum(high[:n], high[n:]) == upper).all())
    at = torch.arange(n)
    assert bool((high[at, place] == low[n + at, place]).all())
