"""Groups of examples that no split may divide: validation, numbering and joining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.errors import InputError

_Integers = NDArray[np.int64]
_INTEGERS = "integers"
_BY_IDENTITY: object = object.__hash__


def group_numbers(parts: Sequence[object], names: Sequence[str]) -> list[Tensor]:
    """Convert groups of one or several parts to int64: equal values are one group in all parts.

    Args:
        parts: for each part a tensor, array, table's column or sequence (N,) of integers, of floats that are
            whole, of strings, or of other hashable values that are all of one type.
        names: name of each part in messages.

    Raises:
        InputError: other values or shapes, or integers in one part and strings in another.
    """
    arrays = [group_column(part, name) for part, name in zip(parts, names, strict=True)]
    kinds = {_kind(array) for array in arrays}
    if len(kinds) > 1:
        raise InputError(
            f"{' and '.join(names)}: {' in one and '.join(sorted(kinds))} in the other",
            "one kind, so that equal groups are found",
            "write np.asarray(groups).astype(str) for both",
        )
    if kinds != {_INTEGERS}:
        numbers: dict[Any, int] = {}
        arrays = [np.array([numbers.setdefault(value, len(numbers)) for value in one]) for one in arrays]
    return [torch.from_numpy(np.ascontiguousarray(array.astype(np.int64))) for array in arrays]


def check_shape(groups: Tensor | NDArray[Any], n: int, name: str) -> None:
    """Raise InputError unless there is one group for each of n examples."""
    if tuple(groups.shape) != (n,):
        raise InputError(
            f"{name}: groups of shape {tuple(groups.shape)} for {n:,} examples",
            "one group an example",
            "pass an integer tensor of shape (N,)",
        )


def check_groups(groups: Tensor, n: int, name: str) -> None:
    """Raise InputError unless groups are integers (n,)."""
    check_shape(groups, n, name)
    if groups.dtype.is_floating_point or groups.dtype.is_complex or groups.dtype == torch.bool:
        raise InputError(
            f"{name}: groups of type {str(groups.dtype).removeprefix('torch.')}",
            "one integer an example",
            "number the groups and write groups.long()",
        )


def join_groupings(groups: _Integers, same: _Integers) -> _Integers:
    """Return the finest grouping, (N,) from 0, that divides no group of either grouping."""
    keys = [np.unique(part, return_inverse=True)[1] for part in (groups, same)]
    parts = np.arange(len(groups), dtype=np.int64)
    while True:
        before = parts
        for key in keys:
            least = np.full(int(key.max()) + 1, len(parts), dtype=np.int64)
            np.minimum.at(least, key, parts)
            parts = least[key]
        if np.array_equal(parts, before):
            return np.unique(parts, return_inverse=True)[1].astype(np.int64)


def group_column(part: object, name: str) -> NDArray[Any]:
    """Return groups as an array (N,): integers, strings, or objects of one hashable type.

    Raises:
        InputError: other values, some of them missing, or another shape.
    """
    array = _array(part, name)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1 and array.dtype.kind == "U" and isinstance(part, list | tuple):
        array = np.fromiter(part, object, len(part))  # numpy has converted every None and number to a string
    if array.ndim == 1 and array.dtype.kind == "O":
        array = _of_one_type(array, name)
    if array.ndim == 1 and array.dtype.kind == "f" and _whole(array):
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iuUO":
        raise _none(f"{name}: groups of type {array.dtype} and shape {array.shape}")
    return array


def _array(part: object, name: str) -> NDArray[Any]:
    if isinstance(part, Tensor):
        return part.detach().cpu().numpy()
    try:
        array = np.asarray(part)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _none(f"{name}: groups of type {type(part).__name__} that are no array") from error
    if array.ndim == 0 and array.dtype.kind == "O":
        raise _none(f"{name}: groups of type {type(part).__name__}")
    return array


def _of_one_type(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Convert an array of objects to integers or strings where it holds such."""
    values = [_scalar(value) for value in array]
    kinds = {_type(value) for value in values}
    if len(kinds) != 1:
        found = " and ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
        raise _none(f"{name}: groups of {found} in one column")
    (kind,) = kinds
    if kind is str:
        return np.array([str(value) for value in values])
    if kind is float or kind is int:
        return np.array(values)
    # Without a hash by value every object would be a group of its own.
    if kind in (bool, type(None), Tensor) or kind.__hash__ is _BY_IDENTITY:
        raise _none(f"{name}: groups of type {kind.__name__}")
    try:
        known = all(value in {value: 0} and bool(value == value) for value in values)
    except (TypeError, ValueError):
        known = False  # a missing value that compares to none, or a tuple that holds a list
    if not known:
        raise _none(f"{name}: groups of type {kind.__name__} that can't be compared")
    found_values = np.empty(len(values), dtype=object)
    found_values[:] = values
    return found_values


def _scalar(value: Any) -> Any:
    """Return the value of an array or tensor without axes, bytes as a string, and other values unchanged."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value.item() if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0 else value


def _type(value: object) -> type:
    return next((kind for kind in (bool, str, int, float) if isinstance(value, kind)), type(value))


def _whole(array: NDArray[Any]) -> bool:
    # Beyond this, neighbouring whole numbers are one float.
    exact = np.abs(array.astype(np.float64)) <= 2 / np.finfo(array.dtype).eps
    return bool((exact & (array == np.floor(array))).all())


def _kind(array: NDArray[Any]) -> str:
    if array.dtype.kind in "iu":
        return _INTEGERS
    if array.dtype.kind == "U" or not len(array):
        return "strings"
    return f"values of type {type(array[0]).__name__}"


def _none(seen: str) -> InputError:
    return InputError(
        seen,
        "one integer or string for each image",
        "write np.array(['patient 7', 'patient 7', 'patient 9']), for instance, and a group of its own for an"
        " image that belongs to no other",
    )
