"""Deep copies of networks, also of those that copy.deepcopy refuses."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.models.preserving.partial_deepcopy import PartialDeepcopy
from harden.models.preserving.reachable_objects import reached

_OTHER_TYPE = re.compile("same dtype|same data ?type|scalar type|Input type")  # torch's messages
_M = TypeVar("_M", bound=nn.Module)


def copied(module: _M, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> _M:
    """Return a deep copy with tensors of its own, without wrappers of torch.compile and DataParallel.

    Guarantee: the original is not changed; shared parameters stay shared; modes and `requires_grad` are kept.
    All tensors are copied, also those that are neither parameters nor buffers and those in lists, dicts,
    objects and closures of hooks. A tensor that is part of a graph, such as the `weight` that old-style
    weight_norm and spectral_norm leave on their module, is copied by its value, one made in inference mode as
    an ordinary one; copy.deepcopy raises there. Objects that can't be copied (a lock, a queue, a file, a
    thread) are shared, and so is an object that holds one and no tensor. All wrappers are removed but the
    outermost: unwrap that one first.

    Args:
        module: the network.
        device: device of the copy's tensors; by default that of each original.
        dtype: float32 or float64, for the copy's floating-point parameters and buffers, and for other tensors
            of a type that the parameters have; by default each type is kept.

    Raises:
        InputError: a part of the network can't be copied.
    """
    kinds = {weight.dtype for weight in module.parameters() if weight.is_floating_point()}

    def placed(tensor: Tensor) -> Tensor:
        kind = dtype if tensor.dtype in kinds else None
        return tensor.to(device=device, dtype=kind) if device is not None or kind is not None else tensor

    try:
        with _deep_calls():
            made: _M = PartialDeepcopy(reached(module), module, placed)(module)
    except Exception as error:  # a user's own __deepcopy__ or __reduce__ may raise anything
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(
            f"a network {type(module).__name__} that can't be copied ({reason})",
            "parts that copy.deepcopy accepts",
            "give the part a __deepcopy__, or remove it from the network",
        ) from error
    if device is not None:
        made.to(device)
    # Not .to(dtype), which would reduce complex weights to their real part.
    if dtype is not None:
        made._apply(lambda each: _cast(each, dtype))  # type: ignore[no-untyped-call]  # torch left it untyped
    return made


def float32_copy(module: _M, device: torch.device | str | None = None) -> _M:
    """Return a copy with parameters and buffers in float32, for training and for gradients of attacks.

    Integer buffers, such as BatchNorm's count, keep their type; see `copied`.
    """
    return copied(module, device=device, dtype=torch.float32)


def ordinary(module: _M) -> _M:
    """Return the module, or a copy where it holds tensors of inference mode, which have no gradient."""
    held = (each for each in reached(module).values() if isinstance(each, Tensor))
    return copied(module) if any(each.is_inference() for each in held) else module


def names_a_type(error: BaseException) -> bool:
    """Return whether an error reports mixed types, as of a forward that names a type in a float32 copy."""
    return _OTHER_TYPE.search(str(error)) is not None


@contextmanager
def _deep_calls() -> Iterator[None]:
    """Allow more nested calls: each nested part needs about twelve, and networks have hundreds of levels."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(4 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
