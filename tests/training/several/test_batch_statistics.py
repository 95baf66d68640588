"""Batch normalisation over two processes is torch's over the whole batch, with gradients and statistics."""

from __future__ import annotations

from tests.processes import ended, started

PROGRAM = """
import copy, sys, torch
from torch import nn
from harden.system.ranks import joined
from harden.system.shards import Shard
from harden.training.several.batch_statistics import WholeBatchNorm

ranks = joined()
draws = torch.Generator().manual_seed(0)

class Derived(nn.BatchNorm2d):
    pass

def check(norm, shape, kind=torch.float32, close=2e-6):
    # Means far from 0 lose digits where squares are summed around 0.
    x = (torch.randn(shape, generator=draws) * 0.1 + 5).to(kind)
    factor = torch.randn(shape, generator=draws).to(kind)
    one, several = norm.to(kind if kind == torch.float64 else torch.float32), copy.deepcopy(norm)
    state, name = list(several.state_dict()), type(several)
    whole = x.clone().requires_grad_(True)
    expected = one(whole)
    (expected * factor).mean().backward()
    start, stop = ranks.part(len(x))
    shard = Shard(ranks, start, stop, x)
    own = x[start:stop].clone().requires_grad_(True)
    with WholeBatchNorm(shard):
        found = several(own)
    ((found * factor[start:stop]).mean() * shard.share).backward()
    torch.testing.assert_close(found, expected[start:stop], rtol=0, atol=50 * close)
    size = float(whole.grad.abs().max())
    torch.testing.assert_close(own.grad / size, whole.grad[start:stop] / size, rtol=0, atol=100 * close)
    if one.affine:
        for mine, theirs in zip(several.parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(ranks.add_(mine.grad.clone()), theirs.grad, rtol=1e-4, atol=50 * close)
    for mine, theirs in zip(several.buffers(), one.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=close)
    assert list(several.state_dict()) == state and type(several) is name

for norm in (nn.BatchNorm2d(3), Derived(3, momentum=None), nn.BatchNorm2d(3, affine=False),
             nn.BatchNorm2d(3, track_running_stats=False)):
    check(norm, (7, 3, 4, 5))
check(nn.BatchNorm1d(6), (5, 6))
check(nn.BatchNorm1d(3), (6, 3, 9))
check(nn.BatchNorm2d(3), (2, 3, 1, 1), close=1e-4)  # one value for each channel of a process
check(nn.BatchNorm2d(3), (6, 3, 4, 4), torch.bfloat16, close=2e-4)

# Attacks, which are in inference mode or have frozen weights, exchange nothing: one process alone passes.
if ranks.is_main:
    own = torch.rand(4, 3, 2, 2)
    with WholeBatchNorm(Shard(ranks, 0, 4, torch.rand(8, 3, 2, 2))):
        still, untracked = nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3, track_running_stats=False).eval()
        untracked.requires_grad_(False)
        assert torch.equal(still(own), nn.functional.batch_norm(own, torch.zeros(3), torch.ones(3)))
        untracked(own)
"""


def test_two_processes_normalise_as_one() -> None:
    assert ended(started(["-c", PROGRAM], 2)) == [(0, "", "")] * 2
