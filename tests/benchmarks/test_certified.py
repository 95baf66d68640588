"""benchmarks/certified.py: linear bounds alone certify no more than together with interval arithmetic."""

from __future__ import annotations

import pytest
import torch

from benchmarks.certified import as_published
from harden.bounds import Method, Program, certify
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS, runtime


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_bounds_alone_are_no_better(kind: str) -> None:
    built = KINDS[kind](6)
    model = built.model()
    program = Program.of(read(model))
    x = torch.rand(40, *built.shape, generator=torch.Generator().manual_seed(2))
    y = torch.from_numpy(runtime(model)(x.numpy()).argmax(1))
    method = Method(parallel=True, climb=None, rounding=False)
    counts = []
    for eps in ("1/50", "1/20"):
        alone, both = as_published(program, x, y, Linf(eps)), certify(program, x, y, Linf(eps), method)
        assert not bool((alone & ~both.certified).any())
        counts.append(int(alone.sum()))
    assert 0 < counts[1] <= counts[0]
