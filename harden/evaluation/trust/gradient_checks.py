"""Trust checks of gradients and of the threat model."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.evaluation.results.result import TrustCheck
from harden.losses import Classify, Margin
from harden.models.wrapping_checks import differentiable

ZERO_GRADIENT_SHARE = 0.05
NOT_FINITE_SHARE = 0.01


def ball_and_box(outside: int) -> TrustCheck:
    """Fires when an attack's result, projected again, was still outside ball or box."""
    return TrustCheck(
        "ball and box",
        float(outside),
        0.0,
        "images that an attack returned and that lie outside the threat model even after projection",
        "report it: the threat's projection is wrong",
    )


def has_gradient(classify: Classify, x: Tensor, y: Tensor) -> bool:
    """Return whether the margin is differentiable with respect to the images x (N, C, H, W)."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        point = x.clone().requires_grad_()
        value = Margin(classify, y.clone())(point)
        if not value.requires_grad:
            return False
        # A margin may depend on weights and not on the image.
        with differentiable():
            (gradient,) = torch.autograd.grad(value.sum(), point, allow_unused=True)
        return gradient is not None


def zero_gradients(classify: Classify, x: Tensor, y: Tensor) -> int:
    """The number of images (N, C, H, W) whose margin, with labels (N,), has a zero or non-finite gradient."""
    if len(x) == 0:
        return 0
    with torch.inference_mode(mode=False), torch.enable_grad():
        point = x.clone().requires_grad_()
        value = Margin(classify, y.clone())(point)
        if not value.requires_grad:  # gradient-free attacks are made for such networks
            return len(x)
        with differentiable():
            (gradient,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
    length = gradient.flatten(1).abs().sum(1)
    return int((~(length > 0) | ~length.isfinite()).sum())


def gradients_exist(zero: int, n: int) -> TrustCheck:
    """Fires when many of n correctly classified images have no gradient for an attack."""
    return TrustCheck(
        "zero gradients",
        zero / max(n, 1),
        ZERO_GRADIENT_SHARE,
        f"share of correctly classified images whose margin has a zero or non-finite gradient, {zero} of {n}",
        "remove quantisation, clamping or detach() from the model, or attack its smooth form",
    )


def gradients_are_finite(not_finite: int, total: int) -> TrustCheck:
    """Fires when many gradients of the attacks contain NaN or an infinity, which steps treat as zero."""
    return TrustCheck(
        "finite gradients",
        not_finite / max(total, 1),
        NOT_FINITE_SHARE,
        "share of the attacks' gradients, one for each image and step, that held NaN or an infinity",
        "find the operation without a slope (sqrt, log or a division at 0) and give it a small offset",
    )
