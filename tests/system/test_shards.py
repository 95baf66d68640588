"""Rows, sums and means over a batch that several processes compute, and their gradients."""

from __future__ import annotations

import torch

from harden.system.ranks import ALONE
from harden.system.shards import (
    Shard,
    batch_gradients,
    batch_mean,
    batch_positions,
    batch_rows,
    batch_share,
    batch_total,
    current_shard,
    in_shard,
)
from tests.processes import ended, started

PROGRAM = """
import torch
from harden.system.ranks import joined
from harden.system.shards import *
from harden.system.shards import Shard, in_shard

ranks = joined()
draws = torch.Generator().manual_seed(0)
whole = torch.rand(5, 3, generator=draws, dtype=torch.float64)
table = torch.rand(5, 5, generator=draws, dtype=torch.float64)
expected = whole.clone().requires_grad_(True)

# The mean over rows of what depends on all of them, as in contrastive losses; functions of means and sums.
value = (table * (expected @ expected.T)).sum(1).mean() + expected.mean().exp() + expected.sum()
value.backward()

start, stop = ranks.part(5)
rows = whole[start:stop].clone().requires_grad_(True)
shard = Shard(ranks, start, stop, whole)
with in_shard(shard):
    everyone = batch_rows(rows)
    assert torch.equal(everyone, whole)
    assert batch_positions(rows).tolist() == list(range(start, stop))
    assert batch_share() == (stop - start) / 5
    mean, total = batch_mean(rows), batch_total(rows.sum())
    assert torch.allclose(batch_mean(rows, (0,), keepdim=True), whole.mean(0, keepdim=True))
    own = (table[batch_positions(rows)] * (rows @ everyone.T)).sum(1).mean() + mean.exp() + total
    (own * shard.share).backward()
    summed = batch_gradients([torch.ones(2)], [torch.ones(2)])
assert summed[0].tolist() == [2.0, 2.0]
assert torch.allclose(rows.grad, expected.grad[start:stop]), (rows.grad, expected.grad[start:stop])
assert abs(ranks.total(own.item() * shard.share) - value.item()) < 1e-12
"""


def test_two_processes_have_values_and_gradients_of_one() -> None:
    assert ended(started(["-c", PROGRAM], 2)) == [(0, "", "")] * 2


def test_a_whole_batch_is_left_as_it_is() -> None:
    x = torch.rand(4, 3, requires_grad=True)
    assert current_shard() is None
    assert batch_rows(x) is x
    assert batch_total(x) is x
    assert torch.equal(batch_mean(x), x.mean())
    assert torch.equal(batch_mean(x, (0,)), x.mean(0))
    assert batch_positions(x).tolist() == [0, 1, 2, 3]
    assert batch_share() == 1.0
    gradients = [x]
    assert batch_gradients(gradients, [x]) is gradients


def test_the_innermost_part_is_the_present_one() -> None:
    outer, inner = (Shard(ALONE, 0, n, torch.zeros(4, 1, 1, 1)) for n in (2, 3))
    with in_shard(outer):
        with in_shard(inner):
            assert current_shard() is inner
            assert batch_share() == 0.75
        assert current_shard() is outer
    assert current_shard() is None
