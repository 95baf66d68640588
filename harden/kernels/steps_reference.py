"""The step operations in plain torch: what the compiled library is tested against, and what runs without it.

Every operation here is the definition of its compiled counterpart, line for line: bit-equal for L-inf; for
L2, where the order of a sum may differ, equal to within 1e-6 eps and one unit in the last place. Arguments
have been checked by `harden.kernels.arguments` before they arrive.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Relative slack of the L2 projection. A sum of n <= 2**30 squares in float64 is off by a factor of at most
# 1 + 2**-22, its root by half of that, so a length that passes KEEP is within eps as a rational number.
# SHRINK leaves a shrunken perturbation short enough to pass KEEP: projecting twice changes nothing.
KEEP = 1.0 + 2.0**-22
SHRINK = 1.0 - 2.0**-21


def broadcastable(per: Tensor, like: Tensor) -> Tensor:
    """Views a step size or eps of 1, (N,) or (1, C) elements so that it broadcasts against (N, C, ...)."""
    if per.numel() == 1:
        return per.reshape(())
    trailing = like.dim() - per.dim()
    return per.reshape(*per.shape, *([1] * trailing))


def allowance(eps: Tensor) -> Tensor:
    """Reads an eps that is not a number of at least 0 as 0: it allows no perturbation."""
    return torch.where(eps > 0, eps, torch.zeros_like(eps))


def clamp(value: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Limits a value from below, then from above; NaN stays NaN.

    Written as comparisons, because `torch.clamp` leaves open which zero of -0.0 and 0.0 it returns.
    """
    value = torch.where(value < low, low, value)
    return torch.where(value > high, high, value)


def pixel(value: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Limits a value as `clamp` does; a zero comes out as 0.0, for -0.0 has other bits."""
    return clamp(value, low, high) + 0.0


def sum_error(a: Tensor, b: Tensor, total: Tensor) -> Tensor:
    """Returns (a + b) - total exactly, for total = fl(a + b): the TwoSum of Knuth."""
    part = total - a
    return (a - (total - part)) + (b - part)


def linf_limits(x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the largest interval of float32 numbers inside the rational interval [x - eps, x + eps]."""
    infinity = torch.full_like(x, torch.inf)
    lower, upper = x - eps, x + eps
    lower = torch.where(sum_error(x, -eps, lower) > 0, torch.nextafter(lower, infinity), lower)
    upper = torch.where(sum_error(x, eps, upper) < 0, torch.nextafter(upper, -infinity), upper)
    return lower, upper


def linf_step_(
    x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, low: float, high: float
) -> None:
    """Writes clamp(x_adv + alpha sign(grad), l, u) into `x_adv`; see `harden.kernels.linf_step_`."""
    with torch.no_grad():
        alpha, eps, grad = broadcastable(alpha, x), allowance(broadcastable(eps, x)), grad.to(torch.float32)
        lower, upper = linf_limits(x, eps)
        # Both limits are brought into the box, so that the box wins where it and the ball do not meet.
        lower, upper = clamp(lower, low, high), clamp(upper, low, high)
        step = torch.where(grad > 0, alpha, torch.where(grad < 0, -alpha, torch.zeros_like(alpha)))
        moved = x_adv + step
        moved = torch.where(torch.isnan(moved), x, moved)
        x_adv.copy_(pixel(moved, lower, upper))


def apgd_linf_step_(
    x_adv: Tensor,
    before: Tensor,
    x: Tensor,
    grad: Tensor,
    alpha: Tensor,
    eps: Tensor,
    share: Tensor,
    low: float,
    high: float,
) -> None:
    """Writes the point with momentum into `x_adv`, and x_adv into `before`; see `momentum_steps`."""
    with torch.no_grad():
        z, share = x_adv.clone(), share.reshape(())
        linf_step_(z, x, grad, alpha, eps, low, high)
        m = mixed(z, x_adv, before, share)
        # A projection: a step of no length.
        linf_step_(m, x, m, torch.zeros_like(share), eps, low, high)
        before.copy_(x_adv)
        x_adv.copy_(torch.where(share == 1.0, z, m))


def mixed(z: Tensor, x_adv: Tensor, before: Tensor, share: Tensor) -> Tensor:
    """Returns (share z + (2 (1 - share)) x_adv) - (1 - share) before, rounded at every bracket."""
    rest = 1.0 - share
    return (share * z + (2.0 * rest) * x_adv) - rest * before


def copy_rows_(target: Tensor, source: Tensor, where: Tensor) -> None:
    """Writes the examples of `source` where `where` into `target`; see `harden.kernels.copy_rows_`."""
    with torch.no_grad():
        spread = where.view(-1, *[1] * (target.dim() - 1))
        torch.where(spread, source, target, out=target)


def lengths(rows: Tensor) -> Tensor:
    """Returns the Euclidean norm of each row of a float64 (N, D) tensor, shape (N, 1)."""
    return rows.square().sum(dim=1, keepdim=True).sqrt()


def l2_step_(
    x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, low: float, high: float
) -> None:
    """Writes the projection of x_adv + alpha grad / |grad| into `x_adv`; see `harden.kernels.l2_step_`."""
    if x_adv.numel() == 0:
        return
    with torch.no_grad():
        n = x.shape[0]
        rows = x.reshape(n, -1)
        alpha64 = alpha.reshape(-1, 1).double()
        eps64 = allowance(eps).reshape(-1, 1).double()

        direction = grad.to(torch.float32).reshape(n, -1).double()
        direction = torch.where(torch.isfinite(direction), direction, 0.0)
        length = lengths(direction)
        scale = torch.where(length > 0, alpha64 / length, 0.0)
        y = (x_adv.reshape(n, -1).double() + direction * scale).float()
        y = torch.where(torch.isfinite(y) & torch.isfinite(rows), y, rows)

        delta = torch.where(torch.isfinite(rows), y.double() - rows.double(), 0.0)
        length = lengths(delta)
        shrink = eps64 / length * SHRINK
        target = delta * shrink
        shrunk = (rows.double() + target).float()
        # Rounding may have carried the element past its target; one unit in the last place brings it back.
        past = (shrunk.double() - rows.double()).abs() > target.abs()
        shrunk = torch.where(past, torch.nextafter(shrunk, rows), shrunk)

        result = torch.where(length * KEEP <= eps64, y, shrunk)
        x_adv.copy_(pixel(result, low, high).reshape(x_adv.shape))


def apgd_l2_step_(
    x_adv: Tensor,
    before: Tensor,
    x: Tensor,
    grad: Tensor,
    alpha: Tensor,
    eps: Tensor,
    share: Tensor,
    low: float,
    high: float,
) -> None:
    """Writes the point with momentum into `x_adv`, and x_adv into `before`; see `momentum_steps`."""
    with torch.no_grad():
        z, share = x_adv.clone(), share.reshape(())
        l2_step_(z, x, grad, alpha, eps, low, high)
        m = mixed(z, x_adv, before, share)
        # A projection: a step of no length.
        l2_step_(m, x, torch.zeros_like(m), torch.zeros_like(share), eps, low, high)
        before.copy_(x_adv)
        x_adv.copy_(torch.where(share == 1.0, z, m))
