"""Conversion of stored arrays to labelled examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.data.examples import Examples
from harden.data.formats.channel_axis import ImageLayout, check_channels_last, parse_layout
from harden.data.formats.label_values import check_label_array, numbered_classes
from harden.data.formats.pixel_range_checks import conversion_advice
from harden.data.image_checks import UNLABELLED
from harden.data.splits.groups import group_numbers
from harden.data.splits.split import Splits
from harden.errors import InputError

KEYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("group_train", "group_test", "x_unlabelled")
ABOUT = ("classes", "layout")
TESTED = ("x_test", "y_test")

_Array = NDArray[np.generic]


def from_arrays(
    parts: Mapping[str, object],
    name: str,
    classes: Sequence[str] | None = None,
    layout: object = None,
) -> Splits:
    """Build Splits from arrays by their names.

    Args:
        parts: `KEYS`, and `OPTIONAL` where wanted: numpy arrays with images (N, H, W, C) or (N, H, W), or
            tensors with images (N, C, H, W); uint8, uint16, or float32 in [0, 1]; labels of any integer
            type, (N,) or (N, 1); groups integers or strings (N,). Where `x_train` and `y_train` are not
            there, `train` is the test part, without groups.
        name: the data set's name.
        classes: names in the order of the labels; "0", "1", ... where None.
        layout: "NHWC" or "NCHW", of numpy arrays with four axes; inferred from the shapes where None.

    Raises:
        InputError: as Examples and Splits; the message begins with the array's name.
    """
    order = parse_layout(layout, name)
    found = [part for part in ("train", "test") if f"x_{part}" in parts]
    y = {part: labels(parts[f"y_{part}"], f"{name}: y_{part}") for part in found}
    for part in found:
        _check_order(parts[f"x_{part}"], y[part], f"{name}: x_{part}")
    x = {part: images(parts[f"x_{part}"], f"{name}: x_{part}", order) for part in found}
    names = _names(y, name) if classes is None else tuple(classes)
    if len(set(names)) < len(names):
        raise InputError(f"{name}: a class that is named twice", "names that differ", "rename one of them")
    groups = _groups({key: value for key, value in parts.items() if key[6:] in found}, name)
    sets = {
        part: Examples(x[part], y[part], names, f"{name} {part}", groups.get(f"group_{part}"))
        for part in found
    }
    return Splits(
        sets["train"] if "train" in sets else replace(sets["test"], groups=None),
        sets["test"],
        name,
        without_labels(parts["x_unlabelled"], name, order) if "x_unlabelled" in parts else None,
    )


def _names(found: Mapping[str, Tensor], name: str) -> tuple[str, ...]:
    """Name classes by their numbers, from 0 to the highest label; see `harden.data.formats.label_values`."""
    known = {part: y for part, y in found.items() if y.ndim == 1 and len(y) and y.dtype == torch.int64}
    if not known:
        return ("0",)
    return numbered_classes(torch.cat(list(known.values())), name, known.get("train"))


def _check_order(x: object, y: Tensor, name: str) -> None:
    """Refuse an array whose last axis counts the images, as MATLAB's files have it."""
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) > 2 and y.ndim == 1 and shape[0] != len(y) == shape[-1]:
        raise InputError(
            f"{name} of shape {shape} with {len(y):,} labels, probably (H, W, C, N)",
            "images along the first axis",
            f"write x.transpose({', '.join(map(str, (len(shape) - 1, *range(len(shape) - 1))))})",
        )


def without_labels(x: object, name: str, layout: ImageLayout | None = None) -> Examples:
    """Build a set of images without labels, for pretraining.

    Raises:
        InputError: as `images` and Examples.
    """
    found = images(x, f"{name}: x_unlabelled", layout)
    return Examples(found, torch.full((len(found),), UNLABELLED), (), f"{name} unlabelled")


def _groups(parts: Mapping[str, object], name: str) -> dict[str, Tensor]:
    given = [key for key in ("group_train", "group_test") if parts.get(key) is not None]
    numbers = group_numbers([parts[key] for key in given], [f"{name}: {key}" for key in given])
    return dict(zip(given, numbers, strict=True))


def images(value: object, name: str, layout: ImageLayout | None = None) -> Tensor:
    """Convert images to a tensor (N, C, H, W) of their own type; a tensor is detached and else unchanged.

    Raises:
        InputError: not an array, a type that holds no pixels, or channels that are not last.
    """
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, list | tuple) and value and all(isinstance(part, Tensor) for part in value):
        return _stacked(value, name)
    array = _array(value, name)
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        floats = array.dtype.kind == "f"
        raise InputError(
            f"{name} of type {array.dtype}",
            "float32 in [0, 1], uint8 or uint16" if floats else "uint8, uint16 or float32",
            conversion_advice(array),
        )
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise InputError(
            f"{name} of shape {array.shape}", "(N, H, W, C) or (N, H, W)", "stack images of one size"
        )
    if 0 not in array.shape and not check_channels_last(array.shape, name, layout):
        return torch.from_numpy(np.ascontiguousarray(array))
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def _stacked(parts: Sequence[Tensor], name: str) -> Tensor:
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) > 1:
        raise InputError(
            f"{name} of shapes {', '.join(map(str, sorted(shapes)[:3]))}", "images of one size", "resize them"
        )
    return torch.stack([part.detach() for part in parts])


def labels(value: object, name: str) -> Tensor:
    """Convert integer labels of any width to int64 (N,); a column (N, 1) of a numpy array is flattened.

    Raises:
        InputError: not an array, or not integers.
    """
    if isinstance(value, list | tuple) and value and all(isinstance(part, Tensor) for part in value):
        value = _stacked(value, name)
    if isinstance(value, Tensor):
        integral = not (value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool)
        return value.detach().to(torch.int64) if integral else value.detach()
    array = _array(value, name)
    check_label_array(array, name)
    if array.ndim == 2:
        array = array[:, 0]
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.int64)))


def _array(value: object, name: str) -> _Array:
    if not isinstance(value, np.ndarray | Sequence) or isinstance(value, str | bytes):
        raise InputError(
            f"{name} of type {type(value).__name__}", "a numpy array or a tensor", "write np.asarray(...)"
        )
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} of different shapes", "one shape", "bring images to one size") from None
    # torch accepts the native byte order only.
    return array.astype(array.dtype.newbyteorder("=")) if not array.dtype.isnative else array
