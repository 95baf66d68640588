"""Two warm-up regularisers of certified training (Shi et al., arXiv 2103.17268, section 4.3).

At first the intervals of a network widen from layer to layer, and ReLUs die. Both regularisers measure what
goes into each ReLU, as intervals [c - r, c + r].
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from harden.bounds.crown.backward import Relaxation
from harden.bounds.rules import Interval, Rectifier
from harden.system.shards import batch_mean, batch_total

ENOUGH: Final = 0.5
"""tau of the paper: a ratio from here on costs nothing."""
_TINY: Final = 1e-12


def warm_up_penalty(found: Relaxation) -> Tensor:
    """mean_i [t(R_0 / R_i) + t(balance of means_i) + t(balance of variances_i)], t(q) = max(0, 1 - q / tau).

    R_0 is the mean radius of the images and R_i that of what goes into the i-th ReLU. A balance is the
    smaller one of q and 1 / q, where q compares the neurons with a positive centre with the others: their
    summed centres, or summed squares of centres around the mean. 0 for a network without ReLUs.
    """
    lower, upper = found.region.lower, found.region.upper
    first = batch_mean(upper - lower) / 2
    reads = dict.fromkeys(step.inputs[0] for step in found.program.steps if isinstance(step.rule, Rectifier))
    parts = [_of_one(first, found.intervals[name]) for name in reads]
    return torch.stack(parts).mean() if parts else first.new_zeros(())


def _of_one(first: Tensor, interval: Interval) -> Tensor:
    lower, upper = interval
    centre, radius = (lower + upper) / 2, batch_mean(upper - lower) / 2
    active = (centre.detach() > 0).to(centre.dtype)
    spread = (centre - batch_mean(centre)) ** 2
    return (
        _missing(first / radius.clamp_min(_TINY))
        + _missing(_balance(_sum(centre * active), -_sum(centre * (1 - active))))
        + _missing(_balance(_sum(spread * active), _sum(spread * (1 - active))))
    )


def _sum(each: Tensor) -> Tensor:
    """Over neurons, and all images of the batch."""
    return batch_total(each.sum())


def _missing(ratio: Tensor) -> Tensor:
    return functional.relu(ENOUGH - ratio) / ENOUGH


def _balance(one: Tensor, other: Tensor) -> Tensor:
    """The smaller over the larger of two numbers that are not negative."""
    return torch.minimum(one, other) / torch.maximum(one, other).clamp_min(_TINY)
