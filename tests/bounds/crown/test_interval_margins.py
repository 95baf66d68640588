"""Intervals for training beside those of proofs."""

from __future__ import annotations

import pytest
import torch

from harden.bounds import Program, Region
from harden.bounds.certification import worst_margins
from harden.bounds.crown.intermediate_bounds import relax
from harden.bounds.crown.interval_margins import (
    affine_end,
    interval_margins,
    linear_margins,
    propagate_intervals,
    worst_logits,
)
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_are_interval_arithmetic_and_no_better_than_lines(kind: str) -> None:
    program = Program.of(read(KINDS[kind](0).model()))
    x = torch.rand(4, *program.size, generator=torch.Generator().manual_seed(0))
    y = torch.arange(4) % program.classes
    region = Region.around(x, Linf("0.02"))
    expected = relax(program, region, rounding=False, backward=False)
    found = propagate_intervals(program, region.lower, region.upper)
    for name in program.bent | {program.output}:
        for one, other in zip(found.intervals[name], expected.intervals[name], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    margins = interval_margins(found, y)
    assert margins.shape == (4, program.classes - 1)
    # Bounds of logits apart can't be tighter than bounds of their differences.
    lower, upper = (end.flatten(1) for end in found.intervals[program.output])
    others = upper.scatter(1, y[:, None], -torch.inf).amax(1)
    assert bool((margins.amin(1) >= lower.gather(1, y[:, None])[:, 0] - others - 1e-9).all())
    torch.testing.assert_close(linear_margins(found, y).amin(1), worst_margins(expected, y))
    assert affine_end(program)[1] in found.intervals


def test_worst_logits_have_the_margins_that_were_given() -> None:
    margins = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    assert worst_logits(margins).tolist() == [[0.0, -1.0, 2.0], [0.0, 0.0, -3.0]]
