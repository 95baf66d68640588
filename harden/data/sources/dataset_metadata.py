"""Metadata of datasets that needs no example to be read: labels, groups, names of classes."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from harden.data.sources.batch_fields import Fields
from harden.data.splits.groups import check_shape, group_column
from harden.errors import InputError

_Array = NDArray[Any]


def stored_labels(dataset: object, fields: Fields | None = None) -> Tensor | None:
    """Return a dataset's labels, int64 (N,), where no image has to be read for them; None elsewhere.

    Where fields choose the labels, `targets` may hold others, and only a TensorDataset's tensors are used.
    """
    if isinstance(dataset, Subset):
        inner = stored_labels(dataset.dataset, fields)
        return None if inner is None else inner[_indices(dataset)]
    if isinstance(dataset, ConcatDataset):
        parts = [stored_labels(part, fields) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if len(known) == len(parts) else None
    if getattr(dataset, "target_transform", None) is not None:
        return None  # stored labels differ from those of the batches
    stored = None
    if fields is None:
        stored = getattr(dataset, "targets", getattr(dataset, "labels", None))
        if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
            stored = dataset.tensors[1]
    elif isinstance(dataset, TensorDataset) and isinstance(fields[1], int):
        stored = (
            dataset.tensors[fields[1]] if -len(dataset.tensors) <= fields[1] < len(dataset.tensors) else None
        )
    array = _column(stored, dataset)
    return (
        torch.from_numpy(array.astype(np.int64)) if array is not None and array.dtype.kind in "iu" else None
    )


def stored_groups(dataset: object, name: str) -> _Array | None:
    """Return a dataset's `groups` (N,), as `group_column` reads them, or None where it has none.

    Raises:
        InputError: it has `groups`, or a part of it has, and they are not one group for each example.
    """
    if isinstance(dataset, Subset):
        inner = stored_groups(dataset.dataset, name)
        return None if inner is None else inner[_indices(dataset).numpy()]
    if isinstance(dataset, ConcatDataset):
        parts = [stored_groups(part, name) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        if known and len(known) < len(parts):
            raise InputError(
                f"{name}: groups in {len(known)} of the {len(parts)} parts of a ConcatDataset",
                "groups in all of them or in none",
                "pass from_loader(loader, groups=...), one for each example of all parts",
            )
        # As objects, so that numpy converts no number to a string: 1 and "1" in two parts are refused.
        return group_column(np.concatenate([part.astype(object) for part in known]), name) if known else None
    groups = getattr(dataset, "groups", None)
    if groups is None:
        return None
    column = group_column(groups, name)
    if isinstance(dataset, Sized):
        check_shape(column, len(dataset), name)
    return column


def stored_classes(dataset: object) -> tuple[str, ...] | None:
    """Return the names of a dataset's classes, in the order of the labels, or None where it has none."""
    if isinstance(dataset, Subset):
        return stored_classes(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        parts = {stored_classes(part) for part in dataset.datasets}
        return parts.pop() if len(parts) == 1 else None
    if getattr(dataset, "target_transform", None) is not None:
        return None
    classes = getattr(dataset, "classes", None)
    if not isinstance(classes, tuple | list) or not classes:
        return None
    return tuple(classes) if all(isinstance(name, str) for name in classes) else None


def dataset_name(dataset: object) -> str:
    """Return the name of a dataset's type, of the whole where it is a part."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return type(dataset).__name__


def _indices(subset: Subset[Any]) -> Tensor:
    return torch.as_tensor(subset.indices, dtype=torch.int64)


def _column(stored: object, dataset: object) -> _Array | None:
    """Return stored values as an array if there is one for each example."""
    if not isinstance(stored, Tensor | np.ndarray | list | tuple) or not isinstance(dataset, Sized):
        return None
    try:
        array = np.asarray(stored)
    except (ValueError, TypeError, RuntimeError):
        return None  # rows of different length, or a tensor that is no array
    return array if array.shape == (len(dataset),) else None
