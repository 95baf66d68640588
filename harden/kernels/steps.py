"""The step operations as the rest of harden calls them: check, choose the backend, run."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels import reference
from harden.kernels.arguments import box_inwards, check_step, dense_format, share_memory
from harden.kernels.loading import backend


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
            memory with `x` or `grad`.
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
            memory with `x` or `grad`.
    """
    check_step(x_adv, x, grad, alpha, eps, per_channel=False)
    low, high = box_inwards(low, high)
    _run("l2_step_", x_adv, x, grad, alpha, eps, low, high)


def not_finite(grad: Tensor) -> Tensor:
    """Says which gradients hold NaN or an infinity: (N, ...) -> bool (N,), with no wait on CUDA.

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
    if share_memory(x_adv, x) or share_memory(x_adv, grad):
        raise InputError(
            "x_adv shares memory with x or grad",
            "memory of its own, since it is overwritten",
            "pass x.clone()",
        )
    if x_adv.numel() == 0:
        return
    run = _native if backend(x_adv.device).name == "native" else _in_torch
    with torch.no_grad():
        run(name, x_adv, x, grad, alpha, eps, low, high)


def _in_torch(name: str, *arguments: Tensor | float) -> None:
    getattr(reference, name)(*arguments)


def read_as_it_is(grad: Tensor) -> Tensor:
    """Leaves a gradient that the compiled library reads alone, and makes another one float32."""
    return grad if grad.dtype in (torch.float32, torch.bfloat16) else grad.to(torch.float32)


def _native(
    name: str, x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, low: float, high: float
) -> None:
    """Runs the compiled operation, with every tensor in the dense layout that `x_adv` has or is copied to."""
    layout = dense_format(x_adv) or torch.contiguous_format
    target = x_adv.contiguous(memory_format=layout)
    getattr(torch.ops.harden, name)(
        target,
        x.contiguous(memory_format=layout),
        read_as_it_is(grad).contiguous(memory_format=layout),
        alpha.contiguous(),
        eps.contiguous(),
        low,
        high,
    )
    if target is not x_adv:
        x_adv.copy_(target)
    elif not x_adv.is_inference():
        # The compiled library writes behind autograd's back: let it notice that a saved tensor changed.
        torch.autograd.graph.increment_version(x_adv)
