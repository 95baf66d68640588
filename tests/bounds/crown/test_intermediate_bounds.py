"""Intervals of all values where some signs are known."""

from __future__ import annotations

import pytest
import torch

from harden.bounds import Program, Region
from harden.bounds.crown.intermediate_bounds import narrow, relax
from harden.bounds.rules import Rectifier
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS


@pytest.mark.parametrize("kind", ["dense", "conv", "leakyrelu"])
def test_an_interval_holds_all_values_of_the_points_that_have_its_signs(kind: str) -> None:
    built = KINDS[kind](1)
    graph = read(built.model())
    program = Program.of(graph)
    x = torch.rand(1, *built.shape, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(2)
    points = (x + (torch.rand(3000, *built.shape, generator=generator) * 2 - 1) / 10).clamp(0, 1)
    values = graph.values(points)
    found = relax(program, Region.around(x, Linf("1/10")))
    for step in program.steps:
        if not isinstance(step.rule, Rectifier):
            continue
        name, seen = step.inputs[0], values[step.inputs[0]]
        for at in range(seen[0].numel()):
            for sign in (1, -1):
                signs = torch.zeros(1, *seen.shape[1:], dtype=torch.int8)
                signs.view(-1)[at] = sign
                inside = sign * seen.flatten(1)[:, at] >= 0
                part = narrow(found, torch.zeros(1, dtype=torch.int64), {name: signs})
                for other, (lower, upper) in part.intervals.items():
                    assert bool((values[other][inside] >= lower).all())
                    assert bool((values[other][inside] <= upper).all())
