"""Which examples belong together: groups that users give, and images that are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.errors import InputError

_Integers = NDArray[np.int64]


def group_numbers(parts: Sequence[object], names: Sequence[str]) -> list[Tensor]:
    """Bring groups of one or several parts to int64: equal numbers or strings are one group in all parts.

    Args:
        parts: for each part a tensor, array or sequence (N,) of integers or of strings.
        names: what to call each part in messages.

    Raises:
        InputError: other values or shapes, or integers in one part and strings in another.
    """
    arrays = [_column(part, name) for part, name in zip(parts, names, strict=True)]
    kinds = {array.dtype.kind == "U" for array in arrays}
    if len(kinds) > 1:
        raise InputError(
            f"{' and '.join(names)}: integers in one and strings in the other",
            "one kind, so that equal groups are found",
            "write np.asarray(groups).astype(str) for both",
        )
    if kinds == {True}:
        _, codes = np.unique(np.concatenate(arrays), return_inverse=True)
        arrays = np.split(codes, np.cumsum([len(array) for array in arrays])[:-1])
    return [torch.from_numpy(np.ascontiguousarray(array.astype(np.int64))) for array in arrays]


def check_shape(groups: Tensor, n: int, name: str) -> None:
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


def joined(groups: _Integers, same: _Integers) -> _Integers:
    """Give the finest grouping, (N,) from 0, in which each of the two groupings' groups stays whole."""
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


def _column(part: object, name: str) -> NDArray[np.generic]:
    array = part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise InputError(
            f"{name}: groups of type {array.dtype} and shape {array.shape}",
            "one integer or string for each image",
            "write np.array(['patient 7', 'patient 7', 'patient 9']), for instance",
        )
    return array
