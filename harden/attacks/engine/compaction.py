"""Compaction of a batch: examples that are settled leave it."""

from __future__ import annotations

import torch
from torch import Tensor

FULL_ENOUGH = 0.9
"""A batch stays whole while more than this share remains: another size costs a set-up of the backend."""

BUCKETS = 8
"""On CUDA a batch shrinks to multiples of one eighth, for each of which a graph is captured once."""

CUDA_STRIDE = 4
"""On CUDA a batch is compacted at every fourth step: to count what remains synchronises the device."""


def remaining_positions(settled: Tensor, whole: int) -> Tensor | None:
    """Positions of the examples that stay in the batch, int64 (M,); None where all of them do.

    Args:
        settled: bool (N,), of the examples that are still in the batch.
        whole: how many examples there were in the beginning.
    """
    keep = (~settled).nonzero().squeeze(1)
    if settled.is_cuda:
        return filled_up(keep, settled, -(-whole // BUCKETS))
    return None if len(keep) > FULL_ENOUGH * len(settled) else keep


def filled_up(keep: Tensor, settled: Tensor, unit: int) -> Tensor | None:
    """The positions `keep`, filled up with settled ones to a multiple of `unit`; None where that is all."""
    size = -(-len(keep) // unit) * unit
    if size >= len(settled):
        return None
    return torch.cat((keep, settled.nonzero().squeeze(1)[: size - len(keep)])).sort().values
