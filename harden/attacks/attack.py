"""The interface of an attack, and the gradients that attacks follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from harden.attacks.engine.nearest_error import Nearest
from harden.draws import Draws
from harden.errors import InputError
from harden.kernels.loss_grad import LossGrad
from harden.losses import Loss, LossFunction
from harden.models.wrapping_checks import differentiable
from harden.threats import Threat


class Attack(Protocol):
    """A value that searches the threat's set around each image for a large loss.

    It knows no model and no labels: both are in the loss.
    """

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Return x_adv (N, C, H, W) inside ball and box around x; x itself is not changed."""
        ...


@runtime_checkable
class NearestAttack(Protocol):
    """An attack that also searches for the nearest error, whatever its distance."""

    def nearest(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Nearest:
        """The nearest error found around each image (N, C, H, W), and its distance in the threat's norm."""
        ...


@contextmanager
def searching(x: Tensor) -> Iterator[Tensor]:
    """Yield the images detached, in a context that records gradients only where an attack enables them.

    Inference mode is off inside the context: tensors made in it take no gradient.
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        yield x.clone() if x.is_inference() else x.detach()


def loss_and_gradient(loss: LossFunction, x: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each example (N,) and its gradient at x, without touching any parameter's `.grad`.

    Raises:
        InputError: the loss is not per example, or does not depend on x.
    """
    # A tensor made in inference mode can't require gradients, its copy outside can.
    with torch.inference_mode(mode=False), torch.enable_grad():
        point = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        return _differentiated(loss, point)


def closed_form_gradient(loss: Loss, x: Tensor) -> tuple[LossGrad, Tensor] | None:
    """As `loss_and_gradient` for a loss whose gradient at the logits needs no graph (`graded`).

    None where there is no such form, or the logits have no known form or do not depend on x: then
    `loss_and_gradient` reports the reason.
    """
    graded = loss.graded
    if graded is None:
        return None
    with torch.inference_mode(mode=False), torch.enable_grad():
        point = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        logits = loss.logits(point)
        known = logits.dim() == 2 and logits.dtype in (torch.float32, torch.bfloat16)
        if not known or len(logits) != len(x) or not logits.requires_grad:
            return None
        out = graded(logits.detach())
        with differentiable():
            (gradient,) = torch.autograd.grad(logits, point, out.dlogits, allow_unused=True)
    return None if gradient is None else (out, gradient)


def _differentiated(loss: LossFunction, point: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(point)
    if value.shape != (len(point),):
        raise InputError(
            f"a loss of shape {tuple(value.shape)} for {len(point)} examples",
            f"one value per example, shape ({len(point)},)",
            'use reduction="none"',
        )
    gradient = None
    if value.requires_grad:
        # A loss may depend on parameters and not on the image: then the gradient is None.
        with differentiable():
            (gradient,) = torch.autograd.grad(value.sum(), point, allow_unused=True)
    if gradient is None:
        raise InputError(
            "a loss that does not depend on the image",
            "a differentiable path from the image to the loss",
            "remove detach(), no_grad() or numpy from the model, or use a gradient-free attack, as Square",
        )
    return value.detach(), gradient
