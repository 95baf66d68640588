"""The shortest way to a hyperplane inside the box, in L-inf, L2 and L1 (Croce & Hein, 1907.02044)."""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor

from harden.errors import InputError

SMALL = torch.finfo(torch.float32).tiny
"""A normal vector without an entry of this size is taken for zero: no way leads along it."""

FAR = torch.finfo(torch.float32).max
"""A level that all entries reach, where the box does not reach the plane."""

FEW = 64
"""In L1 so many of the steepest entries are sorted first, which mostly suffice; sorting all costs more."""

CUDA_ROUNDS = 8
"""On CUDA convergence is checked after so many rounds, since each check synchronises the device."""

NORMS = ("linf", "l2", "l1")
"""By the names that threats give them."""


def check_norm(norm: str) -> None:
    """Refuse a norm in which no projection is known.

    Raises:
        InputError: it is not one of linf, l2 and l1.
    """
    if norm not in NORMS:
        raise InputError(
            f"a threat in the norm {norm!r}",
            f"one of {', '.join(NORMS)}, in which the way to a hyperplane is known",
            "attack with harden.attacks.PGD, which steps through the threat alone",
        )


def to_plane(norm: str, x: Tensor, normal: Tensor, gap: Tensor, box: tuple[float, float]) -> Tensor:
    """Find d = argmin |d|_p subject to <w, d> = gap and low <= x + d <= high.

    Every entry that moves goes along s_j = sign(gap w_j), by m_j >= 0 and by its room r_j in the box at most.
    The gap is filled, sum_j |w_j| m_j = |gap|, by

        L-inf: m_j = min(t, r_j),    L2: m_j = min(t |w_j|, r_j),    L1: m_j = r_j where |w_j| > t, 0 where
        |w_j| < t, and equal shares of their room where |w_j| = t,

    with the one t that does. Where the box does not reach the plane, d leads to the point of the box that is
    nearest to it: m_j = r_j wherever w_j is not zero. An entry of w that is no finite number counts as zero;
    where w is zero or the gap no finite number, d is zero.

    Elements are computed in float32, sums in float64. An example's bits do not depend on the others.

    Args:
        norm: "linf", "l2" or "l1".
        x: points of the box, float32 (P, N, n): of each example P.
        normal: w, float32 (N, n).
        gap: what <w, x> lacks, float64 (P, N).
        box: least and greatest pixel value.

    Returns:
        d, float32 (P, N, n), in pixel units.
    """
    normal = normal.nan_to_num(0.0, 0.0, 0.0)
    steep = normal.abs()
    scale = steep.amax(-1, keepdim=True).clamp_min(SMALL)
    steep /= scale  # |w_j| <= 1: no square is lost to float32's range where it matters
    gap = (gap / scale.squeeze(-1).double()).nan_to_num(0.0, 0.0, 0.0)
    along = normal.sign() * gap.sign().to(x.dtype).unsqueeze(-1)
    room = torch.maximum(along * (box[1] - x), along * (box[0] - x)).clamp_min_(0.0)
    gap = gap.abs()
    if norm == "linf":
        moves = torch.minimum(_level(room, steep, steep * room, gap).unsqueeze(-1), room)
    elif norm == "l2":
        level = _level(room / steep, steep.square(), steep * room, gap).unsqueeze(-1)
        moves = torch.minimum(level * steep, room)
    else:
        moves = _steepest_first(room, steep, gap)
    return moves.mul_(along)


def _level(reach: Tensor, slope: Tensor, gain: Tensor, gap: Tensor) -> Tensor:
    """The t with sum_j min(t slope_j, gain_j) = gap; entry j is exhausted from t = reach_j on: (P, N).

    Newton's method from t = 0. The sum is concave and piecewise linear in t, so it comes from the left, never
    goes back, and is there after finitely many rounds, mostly four or five; sorting took eight times as long.
    A further round changes no bit, so converged examples stay in the batch. FAR where the sum stays below.
    """
    total = gain.sum(-1, dtype=torch.float64)
    level = torch.zeros_like(gap, dtype=torch.float32)
    open_, part = torch.empty_like(reach), torch.empty_like(reach)  # new memory is what costs on the CPU
    for number in count(1):
        torch.gt(reach, level.unsqueeze(-1), out=open_)
        left = torch.mul(open_, gain, out=part).sum(-1, dtype=torch.float64)
        rate = torch.mul(open_, slope, out=part).sum(-1, dtype=torch.float64)
        reached = ((gap - (total - left)) / rate).nan_to_num(0.0, FAR, 0.0).clamp_max_(FAR).float()
        reached = torch.maximum(level, reached)
        if (number % CUDA_ROUNDS == 0 or not gap.is_cuda) and torch.equal(reached, level):
            break
        level = reached
    return level


def _steepest_first(room: Tensor, steep: Tensor, gap: Tensor) -> Tensor:
    """Move entries as far as they can, the steepest first, until the gap (P, N) is filled: m (P, N, n).

    Entries that tie share what is left, so that their order means nothing.
    """
    gain = steep * room
    threshold = _threshold(gain, steep, gap).unsqueeze(-1)
    above, tied = (steep > threshold).to(room.dtype), (steep == threshold).to(room.dtype)
    rest = gap - (above * gain).sum(-1, dtype=torch.float64)
    share = (rest / (tied * gain).sum(-1, dtype=torch.float64)).nan_to_num(0.0, 0.0, 0.0).clamp_(0.0, 1.0)
    return above.add_(tied.mul_(share.to(room.dtype).unsqueeze(-1))).mul_(room)


def _threshold(gain: Tensor, steep: Tensor, gap: Tensor) -> Tensor:
    """The steepness at which the gains (P, N, n) of entries as steep or steeper fill the gap: (P, N)."""
    entries = steep.shape[-1]
    looked = entries if gap.is_cuda else min(FEW, entries)
    while True:
        top = steep.topk(looked, dim=-1)
        order = top.indices.expand(*gap.shape, looked)
        filled = gain.gather(-1, order).cumsum(-1, dtype=torch.float64)
        if looked == entries or bool((filled[..., -1] >= gap).all()):
            break
        looked = entries
    last = (filled < gap.unsqueeze(-1)).sum(-1, keepdim=True).clamp_max_(looked - 1)
    return top.values.expand(*gap.shape, looked).gather(-1, last).squeeze(-1)
