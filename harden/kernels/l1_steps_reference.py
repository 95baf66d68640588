"""The L1 operations in plain torch: what the compiled library is tested against, and what runs without it.

The threshold is the compiled one to the bit. Step and projection agree to within 1e-6 eps and one unit in the
last place, for sums are taken in another order. Arguments have been checked before they arrive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harden.kernels.steps_reference import allowance, pixel

# The margins, and why they suffice: cpp_ext/l1.h.
KEEP = 1.0 + 2.0**-22
RADIUS = 1.0 - 3 * 2.0**-22
CLOSE = 1.0 - 2.0**-24
AIM = 1.0 - 2.0**-25
STUBBORN = 32
ROUNDS = STUBBORN + 64


def magnitudes(values: Tensor) -> Tensor:
    """Returns |value| of each element, 0.0 for NaN."""
    return torch.where(torch.isnan(values), 0.0, values.abs())


def kth_largest(rows: Tensor, k: Tensor) -> Tensor:
    """Returns the k-th largest element of each row (N, D), shape (N, 1); k is rounded down into 1..D."""
    n = rows.shape[1]
    wanted = torch.where(k >= 2, k.double(), 1.0).clamp(max=n).long().reshape(-1, 1).expand(len(rows), 1)
    return rows.sort(dim=1, descending=True).values.gather(1, wanted - 1)


def topk_threshold(out: Tensor, values: Tensor, k: Tensor) -> None:
    """Writes the k-th largest |value| of each example into `out`; see `harden.kernels.topk_threshold`."""
    if values.numel() == 0:
        return
    with torch.no_grad():
        rows = magnitudes(values.to(torch.float32).reshape(len(values), -1))
        out.copy_(kth_largest(rows, k).squeeze(1))


def l1_step_(
    x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, k: Tensor, low: float, high: float
) -> None:
    """Writes the projection of x_adv + alpha / m sign(grad) on m entries into `x_adv`; see `l1_steps`."""
    if x_adv.numel() == 0:
        return
    with torch.no_grad():
        start, gradient = x_adv.reshape(len(x), -1), grad.to(torch.float32).reshape(len(x), -1)
        movable = torch.where(gradient > 0, start < high, start > low)
        ranked = torch.where(movable, magnitudes(gradient), 0.0)
        chosen = (ranked >= kth_largest(ranked, k)) & (ranked > 0)
        # Nothing is moved where nothing is chosen: the share is infinite there.
        share = alpha.reshape(-1, 1).double() / chosen.sum(dim=1, keepdim=True)
        step = torch.where(chosen, torch.where(gradient > 0, share, -share), 0.0)
        y = (start.double() + step).float()
        x_adv.copy_(_projected(y, x.reshape(len(x), -1), eps, low, high).reshape(x_adv.shape))


def l1_project_(x_adv: Tensor, x: Tensor, eps: Tensor, low: float, high: float) -> None:
    """Writes the nearest point of ball and box into `x_adv`; see `harden.kernels.l1_project_`."""
    if x_adv.numel() == 0:
        return
    with torch.no_grad():
        rows, clean = x_adv.reshape(len(x), -1), x.reshape(len(x), -1)
        x_adv.copy_(_projected(rows, clean, eps, low, high).reshape(x_adv.shape))


def _projected(y: Tensor, x: Tensor, eps: Tensor, low: float, high: float) -> Tensor:
    """The nearest point of ball and box to each row of y (N, D)."""
    y = torch.where(torch.isfinite(y) & torch.isfinite(x), y, x)
    delta = torch.where(torch.isfinite(x), y.double() - x.double(), 0.0)
    room = torch.where(delta > 0, high - x.double(), x.double() - low)
    room = torch.where(room > 0, room, 0.0)
    eps64 = allowance(eps).reshape(-1, 1).double().expand(len(x), 1)
    keep, size = _sizes(delta.abs(), room, eps64)
    target = torch.where(delta < 0, -size, size)
    cut = (x.double() + target).float()
    # Rounding may have carried the element past its target; one unit in the last place brings it back.
    past = (cut.double() - x.double()).abs() > size
    cut = torch.where(past, torch.nextafter(cut, x), cut)
    return pixel(torch.where(keep, y, cut), low, high)


def _clip(distance: Tensor, room: Tensor, cut: Tensor) -> Tensor:
    return torch.minimum((distance - cut).clamp_min(0.0), room)


def _sizes(distance: Tensor, room: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows are within eps as they are (N, 1), and how far each element of the others may go (N, D).

    The search is that of cpp_ext/l1.h, all rows at once: Newton's step where it stays between what is known,
    else by turns the straight line and the middle.
    """
    radius = eps * RADIUS
    aim = radius * AIM
    at = torch.zeros_like(eps)
    total, active = _sums(distance, room, at)
    near, near_sum, far, far_sum = at, total, distance.amax(dim=1, keepdim=True), torch.zeros_like(eps)
    keep = total * KEEP <= eps
    done = keep | (far_sum >= radius * CLOSE)
    for turn in range(ROUNDS):
        if bool(done.all()):
            break
        line = near + (far - near) * ((near_sum - aim) / (near_sum - far_sum))
        middle = near + (far - near) * 0.5
        other = torch.where((near < line) & (line < far), line, middle) if turn % 2 == 0 else middle
        newton = at + (total - aim) / active
        good = (active > 0) & (near < newton) & (newton < far)
        at = torch.where(good, newton, other) if turn < STUBBORN else _halfway(near, far)
        done = done | ~((near < at) & (at < far))
        total, active = _sums(distance, room, at)
        above = total > radius
        near, near_sum = torch.where(~done & above, at, near), torch.where(~done & above, total, near_sum)
        far, far_sum = torch.where(~done & ~above, at, far), torch.where(~done & ~above, total, far_sum)
        done = done | (far_sum >= radius * CLOSE)
    met = far_sum >= radius * CLOSE
    share = torch.where(met, 0.0, (radius - far_sum) / (near_sum - far_sum))
    size = _clip(distance, room, far)
    return keep, torch.where(share > 0, size + share * (_clip(distance, room, near) - size), size)


def _halfway(low: Tensor, high: Tensor) -> Tensor:
    """The float64 number with as many numbers below it as above, for 0 <= low <= high."""
    first, last = low.view(torch.int64), high.view(torch.int64)
    return (first + (last - first) // 2).view(torch.float64)


def _sums(distance: Tensor, room: Tensor, cut: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the clips of each row (N, 1), and how many of them move with the cut."""
    left = distance - cut
    moving = (left > 0) & (left < room)
    return _clip(distance, room, cut).sum(dim=1, keepdim=True), moving.sum(dim=1, keepdim=True).double()
