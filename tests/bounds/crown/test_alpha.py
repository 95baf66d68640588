"""Gradient ascent over slopes: no bound is lower than before, goals and time limits end it."""

from __future__ import annotations

import math
import time

import pytest
import torch
from torch import Tensor

from harden.bounds import Method, Program, Region, SlopeAscent, certify
from harden.bounds.certification import margin_rows, worst_margins
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS


def images(n: int, seed: int) -> Tensor:
    return torch.rand(n, *KINDS["conv"](1).shape, generator=torch.Generator().manual_seed(seed))


def test_a_bound_is_raised_towards_its_goal_and_not_beyond() -> None:
    """Whether the bound itself is above 0, the goal by default, or below."""
    graph = read(KINDS["dense"](2).model())
    program = Program.of(graph)
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = relax(program, Region.around(x, Linf("1/8")))
        rows, image = margin_rows(graph.run(x).argmax(1), program.classes, found.region.lower)
        start = DenseCoefficients(rows)
        own = found.lower(program.output, start, image)
        ascent = SlopeAscent(steps=10)
        raised = ascent(found, program.output, start, image, own + 1)
        kept = ascent(found, program.output, start, image, own - 1)
        usual = ascent(found, program.output, start, image)
    assert bool((kept == own).all())
    for sign in (own > 0, own < 0):
        assert bool((raised[sign] > own[sign] + 1e-3).float().mean() > 0.5)
    assert bool((usual[own > 0] == own[own > 0]).all())
    assert bool((usual[own < 0] > own[own < 0] + 1e-3).any())


def test_the_time_left_is_the_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    ascent = SlopeAscent(steps=3, seconds=5.0)
    assert ascent.before(math.inf) is ascent
    assert ascent.before(102.0) == SlopeAscent(steps=3, seconds=2.0)
    assert ascent.before(200.0) == ascent
    assert ascent.before(50.0) == SlopeAscent(steps=3, seconds=0.0)
    assert SlopeAscent().before(102.0) == SlopeAscent(seconds=2.0)


def test_bounds_are_never_lower_and_mostly_higher() -> None:
    built = KINDS["conv"](1)
    graph = read(built.model())
    program, x = Program.of(graph), images(16, 1)
    y = graph.run(x).argmax(1)
    for parallel in (False, True):
        with torch.no_grad():
            found = relax(program, Region.around(x, Linf("1/10")), parallel=parallel)
            before = worst_margins(found, y)
            after = worst_margins(found, y, SlopeAscent(steps=20))
        assert bool((after >= before).all())
        open_ = before <= 0
        assert bool((after[open_] > before[open_] + 1e-3).float().mean() > 0.5)


def test_without_time_the_bounds_are_those_before() -> None:
    built = KINDS["conv"](1)
    graph = read(built.model())
    program, x = Program.of(graph), images(8, 1)
    y = graph.run(x).argmax(1)
    found = [
        certify(program, x, y, Linf("1/10"), Method(climb=climb)).margins
        for climb in (None, SlopeAscent(seconds=0.0), SlopeAscent())
    ]
    torch.testing.assert_close(found[1], found[0])
    assert bool((found[2] >= found[0] - 1e-12).all())
    assert bool((found[2] > found[0]).any())
