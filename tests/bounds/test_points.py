"""At a single point a bound holds nothing but what float32 rounds: the runtime's value lies in it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from harden.bounds import Program, Region
from harden.bounds.crown.intermediate_bounds import relax
from harden.errors import InputError
from harden.graph import read
from tests.graph.conformance import LEVELS, runtime
from tests.graph.generated import FAMILIES
from tests.graph.graphs import normal

UNBOUNDED = ("Softmax", "comparisons")


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in UNBOUNDED])
def test_what_the_runtime_computes_at_a_point_is_within_its_bounds(name: str) -> None:
    family, count = FAMILIES[name]
    draw, seen = random.Random(f"{name}, at a point"), 0
    for _ in range(count):
        file, shape = family(draw)
        x = normal(2, *shape, seed=draw.randint(0, 99)) * np.float32(draw.choice([1e-3, 1, 30, 1e3]))
        try:
            program = Program.of(read(file))
        except InputError:
            continue
        seen += 1
        at = torch.from_numpy(x).double()
        with torch.no_grad():
            lower, upper = relax(program, Region(at, at), backward=False).intervals[program.output]
        for level in LEVELS:
            found = runtime(file, x, level)
            assert found is not None
            assert (found >= lower.numpy()).all(), (level, file.graph.node[0])
            assert (found <= upper.numpy()).all(), (level, file.graph.node[0])
    assert seen >= 0.15 * count
