"""Copies of chosen examples as the rest of harden calls them: check, choose the backend, run."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels import steps_reference
from harden.kernels.arguments import dense_format
from harden.kernels.load_library import backend
from harden.kernels.memory_layout import refuse_shared, written


def copy_rows_(target: Tensor, source: Tensor, where: Tensor) -> None:
    """Copies the examples of `source` where `where` is true into `target`, and leaves the others alone.

    target_n <- source_n where where_n. The compiled operation touches no memory of the other examples, and
    CUDA is not synchronised.

    Guarantee: copied examples have the same bits, NaN included.

    Not differentiable: nothing is recorded.

    Args:
        target: float32 (N, ...), overwritten. Any strides are right; only where both are contiguous, or both
            channels_last, the memory of the others is left alone.
        source: float32, shape of `target`.
        where: bool (N,).

    Raises:
        InputError: a dtype, shape or device differs from the above, or `target` shares memory with another
            tensor or with itself.
    """
    _check(target, source, where)
    refuse_shared("target", target, source, where)
    if target.numel() == 0:
        return
    with torch.no_grad():
        layout = dense_format(target)
        native = layout is not None and source.is_contiguous(memory_format=layout)
        if not native or backend(target.device).name != "native":
            steps_reference.copy_rows_(target, source, where)
            return
        torch.ops.harden.copy_rows_(target, source, where.contiguous())
        written(target, target)


def _check(target: Tensor, source: Tensor, where: Tensor) -> None:
    if target.dtype != torch.float32 or source.dtype != torch.float32:
        raise InputError(
            f"target of type {target.dtype} and source of type {source.dtype}",
            "float32 for both",
            "write .float()",
        )
    if target.dim() == 0 or target.shape != source.shape or target.device != source.device:
        raise InputError(
            f"target of shape {tuple(target.shape)} on {target.device}, "
            f"source of shape {tuple(source.shape)} on {source.device}",
            "one shape (N, ...) on one device",
            "pass two batches of the same images",
        )
    if where.dtype != torch.bool or where.shape != target.shape[:1] or where.device != target.device:
        raise InputError(
            f"where of shape {tuple(where.shape)} and type {where.dtype} on {where.device}",
            f"bool of shape {tuple(target.shape[:1])} on {target.device}",
            "compare two tensors of one number an example",
        )
