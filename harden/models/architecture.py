"""Structure of a network, independent of its weights' values."""

from __future__ import annotations

import types
from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from typing import Final

import torch
from torch import Tensor, nn

from harden.models.classifier import Classifier

_PLAIN: Final = (
    type(None), bool, int, float, complex, str, bytes, type, torch.dtype, torch.device,
    types.FunctionType, types.BuiltinFunctionType,
)  # fmt: skip
_HOOKS: Final = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")


def structure_of(model: Classifier) -> Hashable | None:
    """Return a value that is equal for classifiers that run the same code on weights of the same shapes.

    It holds each part's class and attributes; functions and classes are compared by identity, tensors by
    shape and type. None where a part has hooks, or an attribute of a type that may hold further state.
    """
    try:
        parts = tuple((name, type(part), _attributes(part)) for name, part in model.named_modules())
    except _UnknownError:
        return None
    return parts


class _UnknownError(Exception):
    """An attribute has a type that may hold further state."""


def _attributes(part: nn.Module) -> Hashable:
    found = dict(vars(part))
    if any(value for name, value in found.items() if name.endswith(_HOOKS)):
        raise _UnknownError
    del found["_modules"]  # listed by named_modules
    return _value({name: value for name, value in found.items() if not name.endswith(_HOOKS)})


def _value(value: object) -> Hashable:
    if isinstance(value, Tensor):
        return Tensor, tuple(value.shape), value.dtype
    if type(value) in _PLAIN:
        return type(value), value
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), tuple(_value(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, dict):
        return type(value), tuple((_value(name), _value(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_value, value))
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(_value, value))
    raise _UnknownError
