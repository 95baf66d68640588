"""Which examples of a batch go on where some are settled."""

from __future__ import annotations

import torch
from torch import Tensor

FULL_ENOUGH = 0.9
"""A batch goes on whole while so many of its examples stand: a batch of another size costs a set-up below."""

BUCKETS = 8
"""On CUDA a batch shrinks to multiples of one eighth, for each of which a graph is captured once."""

CUDA_STRIDE = 4
"""On CUDA examples are sorted out at every fourth step: to ask how many stand is to wait for the device."""


def going_on(settled: Tensor, whole: int) -> Tensor | None:
    """Positions of the examples that go on, int64 (M,); None where all of them go on.

    Args:
        settled: bool (N,), of the examples that are still in the batch.
        whole: how many examples there were in the beginning.
    """
    keep = (~settled).nonzero().squeeze(1)
    if settled.is_cuda:
        return filled_up(keep, settled, -(-whole // BUCKETS))
    return None if len(keep) > FULL_ENOUGH * len(settled) else keep


def filled_up(keep: Tensor, settled: Tensor, unit: int) -> Tensor | None:
    """Those that stand, filled up with settled ones to a multiple of `unit`; None where that is all."""
    size = -(-len(keep) // unit) * unit
    if size >= len(settled):
        return None
    return torch.cat((keep, settled.nonzero().squeeze(1)[: size - len(keep)])).sort().values
