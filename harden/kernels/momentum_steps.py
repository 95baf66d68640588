"""Steps with momentum as the rest of harden calls them: check, choose the backend, run."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels import steps_reference
from harden.kernels.arguments import box_inwards, check_step
from harden.kernels.load_library import backend
from harden.kernels.memory_layout import in_one_layout, refuse_shared, written
from harden.kernels.steps import read_as_it_is


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
    """Moves `x_adv` by one L-inf step of Auto-PGD (2003.01690), and `before` after it, in place.

    z = P(x_adv + alpha sign(grad)) and m = P((share z + (2 (1 - share)) x_adv) - (1 - share) before); then
    before <- x_adv and x_adv <- m. P is the projection of `harden.kernels.linf_step_`, what is not a number
    means what it means there, and every product, sum and difference is rounded to float32, in the order of
    the brackets. A share of 1 has no momentum: m = z, and `before` is not read as a number.

    Guarantee: that of `harden.kernels.linf_step_`, for any `before` and `share`. Both backends return the
    same bits.

    Not differentiable: nothing is recorded.

    Args:
        x_adv: float32 (N, ...) or (N, C, ...), overwritten. Any strides are right; contiguous and
            channels_last need no copy.
        before: the point before `x_adv`, of its type and shape, overwritten.
        x: the clean examples, in the box; float32, shape of `x_adv`.
        grad: gradient of what is maximised, any floating-point type, read as float32 (bfloat16 with no copy),
            shape of `x_adv`.
        alpha: step size in pixel units; float32 with 1 element, or (N,) per example, or (1, C) per channel.
        eps: perturbation budget in pixel units, forms as for `alpha`; what is not a number >= 0 counts as 0.
        share: of the step along the gradient, 0.75 in the paper and 1 in its first step; float32 with 1
            element. A tensor as the others are, so that one captured CUDA graph serves both.
        low: least pixel value; rounded up to float32.
        high: greatest pixel value; rounded down to float32.

    Raises:
        InputError: a dtype, shape, device or layout differs from the above, low > high, or `x_adv` or
            `before` shares memory with another tensor or with itself.
    """
    check_step(x_adv, x, grad, alpha, eps, per_channel=True)
    _run("apgd_linf_step_", x_adv, before, x, grad, (alpha, eps, share), (low, high))


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
    """Moves `x_adv` by one L2 step of Auto-PGD (2003.01690), and `before` after it, in place.

    Per example z = P(x_adv + alpha grad / |grad|) and m = P((share z + (2 (1 - share)) x_adv) - (1 - share)
    before); then before <- x_adv and x_adv <- m. P is the projection of `harden.kernels.l2_step_`, what is
    not finite means what it means there, and every product, sum and difference of the mixture is rounded to
    float32, in the order of the brackets. A share of 1 has no momentum: m = z, and `before` is not read as a
    number.

    Guarantee: that of `harden.kernels.l2_step_`, for any `before` and `share`: sum (x_adv - x)^2 <= eps^2 per
    example and the box hold as rational numbers, and projecting again changes no bit. On each backend the
    result has the bits of the step, the mixture and the projection one after another. For a share in [0, 1]
    the backends agree within 1e-6 eps and one unit in the last place of the largest number that is mixed.

    Not differentiable: nothing is recorded.

    Args:
        x_adv: float32 (N, ...), overwritten. Any strides are right; contiguous and channels_last need no
            copy.
        before: the point before `x_adv`, of its type and shape, overwritten.
        x: the clean examples, in the box; float32, shape of `x_adv`.
        grad: gradient of what is maximised, any floating-point type, read as float32 (bfloat16 with no copy),
            shape of `x_adv`.
        alpha: step size, an L2 length in pixel units; float32 with 1 element, or (N,) per example.
        eps: perturbation budget, an L2 length in pixel units, forms as for `alpha`; what is not a number >= 0
            counts as 0.
        share: of the step along the gradient, 0.75 in the paper and 1 in its first step; float32 with 1
            element. A tensor as the others are, so that one captured CUDA graph serves both.
        low: least pixel value; rounded up to float32.
        high: greatest pixel value; rounded down to float32.

    Raises:
        InputError: a dtype, shape, device or layout differs from the above, low > high, or `x_adv` or
            `before` shares memory with another tensor or with itself.
    """
    check_step(x_adv, x, grad, alpha, eps, per_channel=False)
    _run("apgd_l2_step_", x_adv, before, x, grad, (alpha, eps, share), (low, high))


def _run(
    name: str,
    x_adv: Tensor,
    before: Tensor,
    x: Tensor,
    grad: Tensor,
    sizes: tuple[Tensor, Tensor, Tensor],
    box: tuple[float, float],
) -> None:
    """Runs one operation, whose step is checked, on the backend of the device."""
    alpha, eps, share = sizes
    _check_momentum(x_adv, before, share)
    box = box_inwards(*box)
    refuse_shared("x_adv", x_adv, before, x, grad, *sizes)
    refuse_shared("before", before, x, grad, *sizes)
    if x_adv.numel() == 0:
        return
    with torch.no_grad():
        if backend(x_adv.device).name != "native":
            getattr(steps_reference, name)(x_adv, before, x, grad, *sizes, *box)
            return
        target, last, clean, gradient = in_one_layout(x_adv, before, x, read_as_it_is(grad))
        run = getattr(torch.ops.harden, name)
        run(target, last, clean, gradient, alpha.contiguous(), eps.contiguous(), share, *box)
        written(x_adv, target)
        written(before, last)


def _check_momentum(x_adv: Tensor, before: Tensor, share: Tensor) -> None:
    alike = before.dtype == torch.float32 and before.shape == x_adv.shape
    if not alike or before.device != x_adv.device or before.layout != torch.strided:
        raise InputError(
            f"before of shape {tuple(before.shape)} and type {before.dtype} on {before.device}",
            f"dense float32 of shape {tuple(x_adv.shape)} on {x_adv.device}",
            "pass x_adv.clone() before the first step",
        )
    if share.dtype != torch.float32 or share.numel() != 1 or share.device != x_adv.device:
        raise InputError(
            f"share of shape {tuple(share.shape)} and type {share.dtype} on {share.device}",
            f"float32 with 1 element on {x_adv.device}",
            "write torch.tensor(0.75, device=x_adv.device)",
        )
