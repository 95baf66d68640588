"""Checks of label values: class numbers, and what is most likely something else."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harden.errors import InputError

_log = logging.getLogger("harden")
_NUMBERS, _FLAT = "integer class numbers", "class numbers of shape (N,)"
_MANY = 1000


def check_label_array(array: NDArray[Any], name: str) -> None:
    """Raise InputError unless an array holds integers, (N,) or (N, 1)."""
    if array.ndim > 2:
        raise InputError(
            f"{name} of shape {array.shape}", f"{_FLAT}: masks are not covered", "pass one class an image"
        )
    if array.ndim == 2 and array.shape[1] > 1:
        raise label_rows_error(array, name)
    if array.dtype.kind in "USOMmV":
        raise InputError(
            f"{name} of type {array.dtype}",
            _NUMBERS,
            "write classes, y = np.unique(y, return_inverse=True)"
            + (" of all parts together" if name.endswith(("y_train", "y_test")) else ""),
        )
    if array.dtype.kind == "f" and array.size:
        raise InputError(f"{name} of type {array.dtype}{_seen(array)}", _NUMBERS, _of_floats(array))
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} of type {array.dtype}", _NUMBERS, "write y.astype('int64')")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(
            f"{name} with a label of {int(array.max()):,}", _NUMBERS, "number classes from 0 without gaps"
        )


def label_rows_error(array: NDArray[Any], name: str) -> InputError:
    """Make the error for rows (N, K) of labels: one-hot, several classes an image, or shares of classes."""
    seen = f"{name} of shape {array.shape}"
    if array.dtype.kind not in "iufb":
        return InputError(seen, _FLAT, "pass one class an image")
    values = array.astype(np.float64)
    ones = (values == 1).sum(1)
    if bool(((values == 0) | (values == 1)).all()):
        if bool((ones == 1).all()):
            return InputError(f"{seen}, apparently one-hot", _FLAT, "write y.argmax(1)")
        row = int((ones != 1).argmax())
        several = f"{seen}, in which row {row} has {int(ones[row])} classes"
        return InputError(
            several,
            "one class an image: several labels an image (multi-label) are not covered",
            "train a classifier for each label, or leave out the images with none or several",
        )
    shares = bool((values >= 0).all() and np.allclose(values.sum(1), 1, atol=1e-3))
    return InputError(
        f"{seen}, {'shares of classes' if shares else 'rows of numbers'}",
        f"{_FLAT}: one class an image",
        "decide on one class for each image, or leave out those without one",
    )


def numbered_classes(y: Tensor, name: str, trained: Tensor | None = None) -> tuple[str, ...]:
    """Name classes by their numbers, "0" to the highest label in y, int64 (N,).

    Args:
        y: labels of all parts.
        name: of the data set.
        trained: labels of the training part; a warning is logged where it lacks classes.

    Raises:
        InputError: the highest label is out of proportion, or no part has a label 0 where there is a training
            part.
    """
    labels = np.unique(y.cpu().numpy())
    low, high = int(labels[0]), int(labels[-1])
    check_proportion(high, len(labels), name)
    if trained is not None and low > 0:
        raise InputError(
            f"{name}: labels {low} to {high} and none of 0",
            "classes numbered from 0",
            f"write y - {low}, or pass names of all {high + 1} classes where class 0 has no images here",
        )
    present = set() if trained is None else set(np.unique(trained.cpu().numpy()).tolist())
    missing = [label for label in range(high + 1) if present and label not in present]
    if missing:
        _log.warning(
            "%s: %d of the classes 0 to %d have no image to train on, first %d",
            name,
            len(missing),
            high,
            missing[0],
        )
    return tuple(str(label) for label in range(max(high, 0) + 1))


def check_proportion(high: int, different: int, name: str) -> None:
    """Raise InputError where the highest label is far above the number of labels, as of identifiers."""
    if high > 10 * different + _MANY:
        raise InputError(
            f"{name}: labels up to {high:,}, {different:,} different ones",
            "classes numbered from 0 without gaps",
            "write classes, y = np.unique(y, return_inverse=True) for all parts together",
        )


def _seen(array: NDArray[Any]) -> str:
    finite = array[np.isfinite(array)]
    if finite.size < array.size:
        return f" with {array.size - finite.size:,} that are NaN or infinite"
    return "" if bool((finite == np.floor(finite)).all()) else f", such as {finite[finite % 1 != 0][0]:.4g}"


def _of_floats(array: NDArray[Any]) -> str:
    if not bool(np.isfinite(array).all()):
        return "leave out the images without a label, then write y.astype('int64')"
    if bool((array == np.floor(array)).all()):
        return "write y.astype('int64')"
    return "pass classes: values on a scale (regression) are not covered"
