"""Losses, verdicts and gradients of a batch of logits, in one operation.

It takes the place of a loss's forward and backward; `torch.autograd.grad(logits, x, grad_outputs=dlogits)`
goes on from there. CUDA is not synchronised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels import loss_grad_reference as reference
from harden.kernels.load_library import backend
from harden.kernels.memory_layout import refuse_any_shared


@final
@dataclass(frozen=True, slots=True, eq=False)
class LossGrad:
    """Where the operations below write; to be used again for every batch of one shape.

    A NaN among the logits, or a label that names no class, makes loss and margin NaN. Where the loss or its
    gradient is not finite, `dlogits` is zero: it never holds NaN.

    Attributes:
        loss: float32 (N,).
        margin: max_{j != y} z_j - z_y, float32 (N,); minus infinity with one class.
        wrong: whether the answer is another class than y (the first of equal ones counts), or a logit is not
            finite: bool (N,).
        dlogits: d loss / d logits (N, K), of the logits' type. Classes that tie share it equally.
    """

    loss: Tensor
    margin: Tensor
    wrong: Tensor
    dlogits: Tensor

    @classmethod
    def like(cls, logits: Tensor) -> LossGrad:
        """Allocates outputs for logits (N, K)."""
        n, device = len(logits), logits.device
        return cls(
            torch.empty(n, dtype=torch.float32, device=device),
            torch.empty(n, dtype=torch.float32, device=device),
            torch.empty(n, dtype=torch.bool, device=device),
            torch.empty(logits.shape, dtype=logits.dtype, device=device),
        )


def cross_entropy_grad_(out: LossGrad, logits: Tensor, y: Tensor) -> None:
    """Fills `out` for the loss log sum_j exp(z_j) - z_y, in nats.

    Saturation costs no gradient: that of z_y is minus the sum of the other classes' probabilities.

    Args:
        out: made by `LossGrad.like(logits)`.
        logits: float32 or bfloat16 (N, K), K >= 1; computed in float64.
        y: labels, int64 (N,).

    Raises:
        InputError: a dtype, shape or device differs from the above.
    """
    _fill(out, logits, y, y, reference.CROSS_ENTROPY, classes=1)


def margin_grad_(out: LossGrad, logits: Tensor, y: Tensor) -> None:
    """Fills `out` for the loss max_{j != y} z_j - z_y (Carlini and Wagner, 1608.04644).

    Arguments and errors are those of `cross_entropy_grad_`; with one class the loss is minus infinity.
    """
    _fill(out, logits, y, y, reference.MARGIN, classes=1)


def dlr_grad_(out: LossGrad, logits: Tensor, y: Tensor) -> None:
    """Fills `out` for the loss -(z_y - max_{j != y} z_j) / (z_(1) - z_(3) + 1e-12), z_(1) >= z_(2) >= ...

    Source: Croce and Hein, 2003.01690. Arguments and errors are those of `cross_entropy_grad_`, with K >= 3.
    """
    _fill(out, logits, y, y, reference.DLR, classes=3)


def targeted_dlr_grad_(out: LossGrad, logits: Tensor, y: Tensor, target: Tensor) -> None:
    """Fills `out` for the loss -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12), z_(1) >= z_(2) >= ...

    Source: Croce and Hein, 2003.01690. Arguments and errors are those of `cross_entropy_grad_`, with K >= 4
    and the classes t to be reached, int64 (N,); one that names no class makes the loss NaN.
    """
    _fill(out, logits, y, target, reference.TARGETED_DLR, classes=4)


def targeted_cross_entropy_grad_(out: LossGrad, logits: Tensor, y: Tensor, target: Tensor) -> None:
    """Fills `out` for the loss z_t - log sum_j exp(z_j), minus the cross-entropy of the class to be reached.

    At most 0. Margin and verdict are those of the label y. As for `cross_entropy_grad_`, saturation costs no
    gradient: that of z_t is the sum of the other classes' probabilities.

    Arguments and errors are those of `cross_entropy_grad_`, with the classes t, int64 (N,); one that names no
    class makes the loss NaN.
    """
    _fill(out, logits, y, target, reference.TARGETED_CROSS_ENTROPY, classes=1)


def targeted_margin_grad_(out: LossGrad, logits: Tensor, y: Tensor, target: Tensor) -> None:
    """Fills `out` for the loss z_t - z_y (the targeted form of Carlini and Wagner, 1608.04644).

    Arguments and errors are those of `targeted_cross_entropy_grad_`.
    """
    _fill(out, logits, y, target, reference.TARGETED_MARGIN, classes=1)


def _fill(out: LossGrad, logits: Tensor, y: Tensor, target: Tensor, kind: int, *, classes: int) -> None:
    _check(out, logits, y, target, classes)
    native = backend(logits.device).name == "native"
    run = torch.ops.harden.loss_grad_ if native else reference.loss_grad_
    with torch.no_grad():
        written = (out.loss, out.margin, out.wrong, out.dlogits)
        refuse_any_shared(written, (logits, y, target))
        run(*written, logits.detach().contiguous(), y.contiguous(), target.contiguous(), kind)
    if native and not out.loss.is_inference():
        # The compiled library writes behind autograd's back: let it notice that saved tensors changed.
        torch.autograd.graph.increment_version(written)


def _check(out: LossGrad, logits: Tensor, y: Tensor, target: Tensor, classes: int) -> None:
    if logits.dim() != 2 or logits.dtype not in (torch.float32, torch.bfloat16) or logits.shape[1] < classes:
        raise InputError(
            f"logits of shape {tuple(logits.shape)} and dtype {logits.dtype}",
            f"float32 or bfloat16 (N, K) with K >= {classes}",
            "pass what the network returns; with too few classes use margin_grad_",
        )
    for name, labels in (("y", y), ("target", target)):
        if labels.dtype != torch.int64 or labels.shape != logits.shape[:1] or labels.device != logits.device:
            raise InputError(
                f"{name} of shape {tuple(labels.shape)} and dtype {labels.dtype} on {labels.device}",
                f"int64 of shape ({len(logits)},) on {logits.device}",
                f"pass one class for each row of logits, such as {name}.long()",
            )
    whole = out.dlogits.is_contiguous() and out.dlogits.dtype == logits.dtype
    if not whole or out.dlogits.shape != logits.shape or out.dlogits.device != logits.device:
        raise InputError(
            f"outputs for logits of shape {tuple(out.dlogits.shape)} and dtype {out.dlogits.dtype}",
            f"outputs for {tuple(logits.shape)} and {logits.dtype}",
            "pass LossGrad.like(logits)",
        )
