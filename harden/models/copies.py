"""Copies of networks, also of those that copy.deepcopy refuses."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from harden.models.unwrapping import unwrapped

_OTHER_TYPE = re.compile("same dtype|same data ?type|scalar type|Input type")  # how torch says it
_M = TypeVar("_M", bound=nn.Module)


def copied(module: _M) -> _M:
    """A deep copy with parameters and buffers of its own, free of torch.compile and DataParallel.

    Guarantee: the original is left as it is; shared parameters stay shared; modes and `requires_grad` are
    kept. A tensor that hangs in a graph, such as the `weight` that old-style weight_norm and spectral_norm
    leave on their module, is copied by its value; copy.deepcopy raises there. Wrappers are dropped wherever
    they are, the outermost aside: unwrap that one first.
    """
    memo: dict[int, object] = {}
    parts = list(module.modules())
    for part in parts:
        for tensor in _tensors(vars(part)):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    # From the innermost outwards: what is in the memo already is not copied again.
    for part in reversed(parts[1:]):
        if (inner := unwrapped(part)) is not part:
            memo[id(part)] = copy.deepcopy(inner, memo)
    return copy.deepcopy(module, memo)


def float32_copy(module: _M) -> _M:
    """A copy with parameters and buffers in float32, for training and for gradients to attack with.

    Integer buffers, such as BatchNorm's count, stay what they are.
    """
    return copied(module).to(torch.float32)


def names_a_type(error: BaseException) -> bool:
    """Whether an error says that types met: of a forward that names one and can't follow a float32 copy."""
    return _OTHER_TYPE.search(str(error)) is not None


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in a module's attributes, also in lists, tuples and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
