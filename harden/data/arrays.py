"""From arrays as people store them to Examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.data.checks import UNLABELLED
from harden.data.examples import Examples
from harden.data.groups import group_numbers
from harden.data.splitting import Splits
from harden.errors import InputError

KEYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("group_train", "group_test", "x_unlabelled")

_Array = NDArray[np.generic]


def from_arrays(parts: Mapping[str, object], name: str, classes: Sequence[str] | None = None) -> Splits:
    """Build Splits from arrays by their names.

    Args:
        parts: `KEYS`, and `OPTIONAL` where wanted: numpy arrays with images (N, H, W, C) or (N, H, W), or
            tensors with images (N, C, H, W); uint8, uint16, or float32 in [0, 1]; labels of any integer
            type, (N,) or (N, 1); groups integers or strings (N,).
        name: the data set's name.
        classes: names in the order of the labels; "0", "1", ... where None.

    Raises:
        InputError: as Examples and Splits, with the array's name in front.
    """
    x_train, x_test = (images(parts[key], f"{name}: {key}") for key in ("x_train", "x_test"))
    y_train, y_test = (labels(parts[key], f"{name}: {key}") for key in ("y_train", "y_test"))
    if classes is None:
        highest = max((int(y.max()) for y in (y_train, y_test) if len(y)), default=0)
        classes = [str(label) for label in range(highest + 1)]
    names = tuple(classes)
    groups = _groups(parts, name)
    return Splits(
        Examples(x_train, y_train, names, f"{name} train", groups.get("group_train")),
        Examples(x_test, y_test, names, f"{name} test", groups.get("group_test")),
        name,
        without_labels(parts["x_unlabelled"], name) if "x_unlabelled" in parts else None,
    )


def without_labels(x: object, name: str) -> Examples:
    """Build a set of images without labels, for pretraining.

    Raises:
        InputError: as `images` and Examples.
    """
    found = images(x, f"{name}: x_unlabelled")
    return Examples(found, torch.full((len(found),), UNLABELLED), (), f"{name} unlabelled")


def _groups(parts: Mapping[str, object], name: str) -> dict[str, Tensor]:
    given = [key for key in ("group_train", "group_test") if parts.get(key) is not None]
    numbers = group_numbers([parts[key] for key in given], [f"{name}: {key}" for key in given])
    return dict(zip(given, numbers, strict=True))


def images(value: object, name: str) -> Tensor:
    """Bring images to a tensor (N, C, H, W) of their own type; a tensor comes back as it is.

    Raises:
        InputError: not an array, a type that holds no pixels, or channels that are not last.
    """
    if isinstance(value, Tensor):
        return value
    array = _array(value, name)
    if array.dtype == np.float64 or array.dtype == np.float16:
        raise InputError(
            f"{name} of type {array.dtype}", "float32 in [0, 1], uint8 or uint16", "write x.astype('float32')"
        )
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(
            f"{name} of type {array.dtype}",
            "uint8, uint16 or float32",
            "write x.astype('uint8') for pixels in 0..255",
        )
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        raise InputError(
            f"{name} of shape {array.shape}, which looks like (N, C, H, W)",
            "(N, H, W, C) in numpy arrays",
            "write x.transpose(0, 2, 3, 1)",
        )
    if array.ndim != 4:
        raise InputError(
            f"{name} of shape {array.shape}", "(N, H, W, C) or (N, H, W)", "stack images of one size"
        )
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def labels(value: object, name: str) -> Tensor:
    """Bring integer labels of any width to int64 (N,); a column (N, 1) of a numpy array is flattened.

    Raises:
        InputError: not an array, or not integers.
    """
    if isinstance(value, Tensor):
        integral = not (value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool)
        return value.to(torch.int64) if integral else value
    array = _array(value, name)
    if array.ndim == 2 and array.shape[1] > 1:
        raise InputError(
            f"{name} of shape {array.shape}, which looks one-hot",
            "class numbers of shape (N,)",
            "write y.argmax(1)",
        )
    if array.dtype.kind in "USO":
        raise InputError(
            f"{name} of type {array.dtype}",
            "integer class numbers",
            "write classes, y = np.unique(y, return_inverse=True)",
        )
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} of type {array.dtype}", "integer class numbers", "write y.astype('int64')")
    if array.ndim == 2:
        array = array[:, 0]
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.int64)))


def _array(value: object, name: str) -> _Array:
    if not isinstance(value, np.ndarray | Sequence) or isinstance(value, str | bytes):
        raise InputError(
            f"{name} of type {type(value).__name__}", "a numpy array or a tensor", "write np.asarray(...)"
        )
    array = np.asarray(value)
    # A file from a machine of the other byte order: torch takes the native one only.
    return array.astype(array.dtype.newbyteorder("=")) if not array.dtype.isnative else array
