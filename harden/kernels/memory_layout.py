"""The memory that a compiled operation works on: in one layout of its own, returned in the caller's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels.arguments import dense_format


def refuse_shared(name: str, target: Tensor, *others: Tensor) -> None:
    """Refuses to overwrite memory that is read as well, or memory that is one element several times over.

    Raises:
        InputError: an element of `target` lies where another of its own does, or one of the others'.
    """
    if torch.compiler.is_compiling():
        return
    if not _is_dense(target) and _overlaps_itself(target):
        raise InputError(
            f"{name} shares memory with itself: shape {tuple(target.shape)}, strides {target.stride()}",
            "memory of its own for each element, since it is overwritten",
            "pass a clone",
        )
    first, last = _span(target)
    for other in others:
        start, stop = _span(other)
        if first < stop and start < last and share_memory(target, other):
            raise InputError(
                f"{name} shares memory with what is read",
                "memory of its own, since it is overwritten",
                "pass a clone",
            )


def refuse_any_shared(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    """As `refuse_shared`, of several dense outputs at once; inputs may be one another.

    Raises:
        InputError: an output lies where another one or an input does.
    """
    if torch.compiler.is_compiling():
        return
    spans = [(*_span(each), True) for each in outputs] + [(*_span(each), False) for each in inputs]
    read = written_ = 0  # how far what came before reaches
    for start, stop, is_output in sorted(spans):
        if start < stop and (start < written_ or (is_output and start < read)):
            raise InputError(
                "an output that shares memory with another one or with what is read",
                "memory of its own for each, since it is overwritten",
                "pass LossGrad.like(logits)",
            )
        if is_output:
            written_ = max(written_, stop)
        else:
            read = max(read, stop)


def share_memory(one: Tensor, other: Tensor) -> bool:
    """Says whether two tensors have a byte in common, whatever their types and strides.

    Guarantee: exact, without a copy where both are dense or lie apart; else in as many bytes as they span.
    """
    if one.device != other.device:
        return False
    first, last = _span(one)
    start, stop = _span(other)
    if first >= stop or start >= last:
        return False
    if _is_dense(one) and _is_dense(other):
        return True
    unit = math.gcd(one.element_size(), other.element_size(), abs(start - first))
    base = min(first, start)
    taken = torch.zeros((max(last, stop) - base) // unit, dtype=torch.bool)
    _in_units(taken, one, (first - base) // unit, unit).fill_(True)
    return bool(_in_units(taken, other, (start - base) // unit, unit).any())


def _span(tensor: Tensor) -> tuple[int, int]:
    """The addresses from a tensor's first byte to behind its last one."""
    start, size = tensor.data_ptr(), tensor.element_size()
    if tensor.numel() == 0:
        return start, start
    if _is_dense(tensor):
        return start, start + tensor.nbytes
    reach = sum((extent - 1) * stride for extent, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + size * (reach + 1)


def _is_dense(tensor: Tensor) -> bool:
    return dense_format(tensor) is not None


def _in_units(taken: Tensor, tensor: Tensor, at: int, unit: int) -> Tensor:
    """The places of a tensor's bytes in units of memory that begin with those of `taken`."""
    width = tensor.element_size() // unit
    strides = tuple(stride * width for stride in tensor.stride())
    return taken.as_strided((*tensor.shape, width), (*strides, 1), at)


def _overlaps_itself(tensor: Tensor) -> bool:
    """Says whether two of a tensor's elements may lie in one place, as they do where it was expanded.

    True also of strides that interleave and meet nowhere, such as (2, 3) of shape (2, 2); nobody makes them.
    """
    if tensor.numel() == 0:
        return False
    reach = 0
    for stride, extent in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if extent > 1:
            if stride <= reach:
                return True
            reach += (extent - 1) * stride
    return False


def in_one_layout(x_adv: Tensor, *others: Tensor) -> list[Tensor]:
    """All tensors in the dense layout that `x_adv` has or is copied to."""
    layout = dense_format(x_adv) or torch.contiguous_format
    return [tensor.contiguous(memory_format=layout) for tensor in (x_adv, *others)]


def written(tensor: Tensor, target: Tensor) -> None:
    """Brings what a compiled operation wrote into `target` back to the tensor that it replaces."""
    if target is not tensor:
        tensor.copy_(target)
    elif not tensor.is_inference():
        # The compiled library writes behind autograd's back: let it notice that a saved tensor changed.
        torch.autograd.graph.increment_version(tensor)
