"""The step operations as the rest of harden calls them: check, choose the backend, run."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.kernels import steps_reference
from harden.kernels.arguments import box_inwards, check_step
from harden.kernels.load_library import backend
from harden.kernels.memory_layout import in_one_layout, refuse_shared, written


def linf_step_(
    x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, low: float, high: float
) -> None:
    """Moves `x_adv` by one signed gradient step and projects it onto the L-inf ball and the box, in place.

    x_adv <- min(max(x_adv + alpha sign(grad), l), u), with l the smallest float32 number >= x - eps and u the
    largest <= x + eps, both brought into [low, high]. An element of `grad` that is NaN counts as zero; an
    element that would become NaN returns to x.

    Guarantee: |x_adv - x| <= eps and low <= x_adv <= high hold as rational numbers, for the float32 values of
    x, x_adv and eps, provided x lies in the box. Where x does not, and ball and box do not meet, the box
    wins. `torch.set_flush_denormal(True)` voids the guarantee for subnormal numbers.

    Not differentiable: nothing is recorded. Both backends return the same bits.

    Args:
        x_adv: float32 (N, ...) or (N, C, ...), overwritten. Any strides are right; contiguous and
            channels_last need no copy.
        x: the clean examples, in the box; float32, shape of `x_adv`.
        grad: gradient of what is maximised, any floating-point type, read as float32 (bfloat16 with no copy),
            shape of `x_adv`.
        alpha: step size in pixel units; float32 with 1 element, or (N,) per example, or (1, C) per channel.
        eps: perturbation budget in pixel units, forms as for `alpha`; what is not a number >= 0 counts as 0.
        low: least pixel value; rounded up to float32.
        high: greatest pixel value; rounded down to float32.

    Raises:
        InputError: a dtype, shape, device or layout differs from the above, low > high, or `x_adv` shares
            memory with another tensor or with itself.
    """
    check_step(x_adv, x, grad, alpha, eps, per_channel=True)
    low, high = box_inwards(low, high)
    _run("linf_step_", x_adv, x, grad, alpha, eps, low, high)


def l2_step_(
    x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, low: float, high: float
) -> None:
    """Moves `x_adv` by one normalised gradient step and projects it onto the L2 ball and the box, in place.

    Per example: y = x_adv + alpha grad / |grad|, then x_adv <- x + (y - x) min(1, eps / |y - x|), then the
    clamp to [low, high]. Norms are sums in float64. Entries of `grad` that are not finite count as zero, a
    zero gradient moves nothing, an element that would not be finite returns to x.

    Guarantee: sum (x_adv - x)^2 <= eps^2 per example and low <= x_adv <= high hold as rational numbers, for
    the float32 values of x, x_adv and eps, provided x lies in the box (if not, the box wins). Its price is at
    most 2^-20 eps of the radius and one unit in the last place of each element. Projecting again (alpha = 0)
    changes no bit. The backends agree within 1e-6 eps and one unit in the last place.
    `torch.set_flush_denormal(True)` voids the guarantee for subnormal numbers.

    Not differentiable: nothing is recorded.

    Args:
        x_adv: float32 (N, ...), overwritten. Any strides are right; contiguous and channels_last need no
            copy.
        x: the clean examples, in the box; float32, shape of `x_adv`.
        grad: gradient of what is maximised, any floating-point type, read as float32 (bfloat16 with no copy),
            shape of `x_adv`.
        alpha: step size, an L2 length in pixel units; float32 with 1 element, or (N,) per example.
        eps: perturbation budget, an L2 length in pixel units, forms as for `alpha`; what is not a number >= 0
            counts as 0.
        low: least pixel value; rounded up to float32.
        high: greatest pixel value; rounded down to float32.

    Raises:
        InputError: a dtype, shape, device or layout differs from the above, low > high, or `x_adv` shares
            memory with another tensor or with itself.
    """
    check_step(x_adv, x, grad, alpha, eps, per_channel=False)
    low, high = box_inwards(low, high)
    _run("l2_step_", x_adv, x, grad, alpha, eps, low, high)


def not_finite(grad: Tensor) -> Tensor:
    """Says which gradients hold NaN or an infinity: (N, ...) -> bool (N,), without synchronising CUDA.

    The steps above leave such entries out; who reports an attack adds these up. It is one sum for each
    example, a few percent of the price of counting entries, so entries that are finite and together exceed
    float32 are named too.
    """
    with torch.no_grad():
        axes = tuple(range(1, grad.dim()))  # no axes at all would mean every axis
        total = grad.sum(axes, dtype=torch.float32) if axes else grad
        return ~total.isfinite()


def _run(
    name: str, x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, low: float, high: float
) -> None:
    """Runs one checked operation on the backend of the device."""
    refuse_shared("x_adv", x_adv, x, grad, alpha, eps)
    if x_adv.numel() == 0:
        return
    with torch.no_grad():
        if backend(x_adv.device).name != "native":
            getattr(steps_reference, name)(x_adv, x, grad, alpha, eps, low, high)
            return
        target, clean, gradient = in_one_layout(x_adv, x, read_as_it_is(grad))
        sizes = (alpha.contiguous(), eps.contiguous())
        getattr(torch.ops.harden, name)(target, clean, gradient, *sizes, low, high)
        written(x_adv, target)


def read_as_it_is(grad: Tensor) -> Tensor:
    """Leaves a gradient that the compiled library reads alone, and makes another one float32."""
    return grad if grad.dtype in (torch.float32, torch.bfloat16) else grad.to(torch.float32)
