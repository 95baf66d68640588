"""The L1 operations as the rest of harden calls them: check, choose the backend, run."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels import l1_steps_reference
from harden.kernels.arguments import box_inwards, check_form, check_step, dense_format
from harden.kernels.load_library import backend
from harden.kernels.memory_layout import in_one_layout, refuse_shared, written


def l1_step_(
    x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, k: Tensor, low: float, high: float
) -> None:
    """Moves `x_adv` by one sparse gradient step and projects it onto the L1 ball and the box, in place.

    Per example: the m entries of largest |grad|, among those along which x_adv can still move in the box, go
    by alpha / m in the direction of their sign; then `l1_project_`. m is k, or more where entries tie with
    the k-th, or fewer where fewer are not zero. With k = 1 it is the direction of steepest ascent; more
    entries move in the sparse form of Tramèr and Boneh (arXiv 1904.13000). An entry of `grad` that is NaN
    counts as zero, one that is infinite as the largest.

    Guarantee, agreement and strides: as for `l1_project_`; which entries move does not depend on the backend.

    Not differentiable: nothing is recorded.

    Args:
        x_adv: float32 (N, ...), overwritten. Contiguous and channels_last need no copy.
        x: the clean examples, in the box; float32, shape of `x_adv`.
        grad: gradient of what is maximised, any floating-point type (cast to float32), shape of `x_adv`.
        alpha: step size, an L1 length in pixel units; float32 with 1 element, or (N,) per example.
        eps: perturbation budget, an L1 length in pixel units, forms as for `alpha`; what is not a number >= 0
            counts as 0.
        k: how many entries move, forms as for `alpha`; rounded down, and at least 1.
        low: least pixel value; rounded up to float32.
        high: greatest pixel value; rounded down to float32.

    Raises:
        InputError: a dtype, shape, device or layout differs from the above, low > high, or `x_adv` shares
            memory with another tensor or with itself.
    """
    check_step(x_adv, x, grad, alpha, eps, per_channel=False)
    if k.device != x_adv.device:
        raise InputError(f"k on {k.device}", f"a tensor on {x_adv.device}", "write k.to(x_adv.device)")
    check_form("k", k, x_adv, per_channel=False)
    low, high = box_inwards(low, high)
    refuse_shared("x_adv", x_adv, x, grad, alpha, eps, k)
    if x_adv.numel() == 0:
        return
    with torch.no_grad():
        if backend(x_adv.device).name != "native":
            l1_steps_reference.l1_step_(x_adv, x, grad, alpha, eps, k, low, high)
            return
        target, clean, gradient = in_one_layout(x_adv, x, grad.to(torch.float32))
        scales = (alpha.contiguous(), eps.contiguous(), k.contiguous())
        torch.ops.harden.l1_step_(target, clean, gradient, *scales, low, high)
        written(x_adv, target)


def l1_project_(x_adv: Tensor, x: Tensor, eps: Tensor, low: float, high: float) -> None:
    """Projects `x_adv` onto the L1 ball and the box together, in place.

    Per example: x_adv <- argmin |z - x_adv|_2 over z with sum |z - x| <= eps and low <= z <= high, which is
    z = x + sign(d) clip(|d| - lambda, 0, room) for d = x_adv - x, the room to the box in d's direction, and
    the smallest lambda >= 0 that does (Croce and Hein, "Mind the box", arXiv 2103.01208). Projecting onto the
    ball and then cutting by the box would give up a part of the budget. An element that is not finite returns
    to x.

    Guarantee: sum |x_adv - x| <= eps per example and low <= x_adv <= high hold as rational numbers, for the
    float32 values of x, x_adv and eps, provided x lies in the box (if not, the box wins). Its price is at
    most 2^-20 eps of the radius and one unit in the last place of each element. Projecting again changes no
    bit. The backends agree within 1e-6 eps and one unit in the last place; the compiled one returns the same
    bits on every machine and thread count.
    `torch.set_flush_denormal(True)` voids the guarantee for subnormal numbers.

    Not differentiable: nothing is recorded.

    Args:
        x_adv: float32 (N, ...), overwritten. Contiguous and channels_last need no copy.
        x: the clean examples, in the box; float32, shape of `x_adv`.
        eps: perturbation budget, an L1 length in pixel units; float32 with 1 element, or (N,) per example;
            what is not a number >= 0 counts as 0.
        low: least pixel value; rounded up to float32.
        high: greatest pixel value; rounded down to float32.

    Raises:
        InputError: a dtype, shape, device or layout differs from the above, low > high, or `x_adv` shares
            memory with another tensor or with itself.
    """
    check_step(x_adv, x, x, eps, eps, per_channel=False)
    low, high = box_inwards(low, high)
    refuse_shared("x_adv", x_adv, x, eps)
    if x_adv.numel() == 0:
        return
    with torch.no_grad():
        if backend(x_adv.device).name != "native":
            l1_steps_reference.l1_project_(x_adv, x, eps, low, high)
            return
        target, clean = in_one_layout(x_adv, x)
        torch.ops.harden.l1_project_(target, clean, eps.contiguous(), low, high)
        written(x_adv, target)


def topk_threshold(out: Tensor, values: Tensor, k: Tensor) -> None:
    """Writes the k-th largest |value| of each example into `out`.

    Then |value| >= out holds for k entries of an example, for more where some tie with the k-th. NaN counts
    as zero. Both backends return the same bits.

    Not differentiable: nothing is recorded.

    Args:
        out: float32 (N,), overwritten.
        values: any floating-point type (cast to float32), (N, ...). Contiguous and channels_last
            need no copy.
        k: float32 with 1 element, or (N,) per example; rounded down, and into 1 to the number of elements.

    Raises:
        InputError: a dtype, shape, device or layout differs from the above, or `out` shares memory with
            another tensor or with itself.
    """
    _check_ranking(out, values, k)
    if values.numel() == 0:
        return
    with torch.no_grad():
        if backend(values.device).name != "native":
            l1_steps_reference.topk_threshold(out, values, k)
            return
        target = out.contiguous()
        ordered = values.to(torch.float32)
        ordered = ordered.contiguous(memory_format=dense_format(ordered) or torch.contiguous_format)
        torch.ops.harden.topk_threshold(target, ordered, k.contiguous())
        written(out, target)


def _check_ranking(out: Tensor, values: Tensor, k: Tensor) -> None:
    if not values.dtype.is_floating_point or values.dim() == 0 or values.layout != torch.strided:
        raise InputError(
            f"values of shape {tuple(values.shape)}, type {values.dtype} and layout {values.layout}",
            "dense floating-point numbers of shape (N, ...)",
            "pass the gradient of the loss",
        )
    if out.dtype != torch.float32 or out.shape != values.shape[:1] or out.device != values.device:
        raise InputError(
            f"out of shape {tuple(out.shape)} and type {out.dtype} on {out.device}",
            f"float32 of shape {tuple(values.shape[:1])} on {values.device}",
            "pass torch.empty(len(values), device=values.device)",
        )
    if k.device != values.device:
        raise InputError(f"k on {k.device}", f"a tensor on {values.device}", "write k.to(values.device)")
    check_form("k", k, values, per_channel=False)
    refuse_shared("out", out, values, k)
