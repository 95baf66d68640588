"""Checks of images and labels: shape, type and range."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from harden.check_pixels import likely_fix
from harden.data.formats.label_values import label_rows_error
from harden.errors import InputError

_STORED = (torch.uint8, torch.uint16, torch.float32)

UNPACKED = 2**30
RATIO = 200
"""Bytes that one byte may unpack to, beyond UNPACKED: deflate unpacks a thousand from a byte of zeros."""

UNLABELLED = -1
"""The label of an image without one: no loss on labels accepts it, so it is never learnt unnoticed."""


def check_names(names: Iterable[str]) -> None:
    """Raise InputError unless all names are Unicode text, which reports and certificates can hold.

    The name of a file or a folder may have another encoding.
    """
    for name in names:
        try:
            str(name).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"the name {name!r}, which is no Unicode text",
                "names of data and classes in UTF-8",
                "rename the file or the folder",
            ) from None


def check_images(x: Tensor, name: str) -> None:
    """Raise InputError unless x is a set of images (N, C, H, W): uint8, uint16, or float32 in [0, 1]."""
    shape = tuple(x.shape)
    if x.layout != torch.strided or x.is_quantized or x.is_complex():
        raise InputError(
            f"{name}: images that are {'quantised' if x.is_quantized else 'sparse or complex'}",
            "dense tensors of real numbers",
            "write x.dequantize()" if x.is_quantized else "write x.to_dense(), or take the magnitude x.abs()",
        )
    if x.ndim != 4:
        raise InputError(
            f"{name}: images of shape {shape}",
            "four axes (N, C, H, W)",
            "add the channel axis with x.unsqueeze(1)" if x.ndim == 3 else "stack images of one size",
        )
    if 0 in shape:
        raise InputError(
            f"{name}: no pixels, shape {shape}", "at least one image", "check the path and filter"
        )
    _, channels, height, last = shape
    # Channels in front are 1 or 3 in nearly all data; a last axis of 1 or 3 after a longer one indicates
    # channels last, and so do two equal axes before a short one.
    if channels not in (1, 3) and height > last and (last in (1, 3) or channels == height):
        raise InputError(
            f"{name}: images of shape {shape}, probably (N, H, W, C)",
            "(N, C, H, W)",
            "write x.permute(0, 3, 1, 2)",
        )
    if x.dtype not in _STORED:
        raise InputError(
            f"{name}: images of type {_short(x.dtype)}",
            "uint8 in 0..255, uint16 in 0..65535 or float32 in [0, 1]",
            "write x.float()"
            if x.dtype.is_floating_point or x.dtype == torch.bool
            else "write x.to(torch.uint8) for pixels in 0..255",
        )
    if x.dtype == torch.float32:
        _check_unit(x, name)


def _check_unit(x: Tensor, name: str) -> None:
    low, high = (float(end) for end in torch.aminmax(x.detach()))
    if low >= 0.0 and high <= 1.0:
        return
    if not bool(torch.isfinite(x).all()):
        first = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0, 0])
        raise InputError(
            f"{name}: NaN or infinite pixels, first in image {first}",
            "finite pixels in [0, 1]",
            "find their origin: a division by a constant image's deviation is a common cause",
        )
    raise InputError(
        f"{name}: float pixels with min {low:.4g} and max {high:.4g}",
        "pixels in [0, 1]",
        likely_fix(low, high),
    )


def check_labels(y: Tensor, n: int, classes: int | None, name: str) -> None:
    """Raise InputError unless y is int64 (n,) with values in 0..classes-1 (from 0 up when it is None).

    With no classes at all every label has to be `UNLABELLED`.
    """
    shape = tuple(y.shape)
    if y.ndim == 2 and shape[1] == 1:
        raise InputError(f"{name}: labels of shape {shape}", "shape (N,)", "write y.squeeze(1)")
    if y.ndim == 2 and not y.dtype.is_complex:
        raise label_rows_error(y.float().cpu().numpy(), f"{name}: labels")
    if y.ndim != 1:
        raise InputError(
            f"{name}: labels of shape {shape}", "shape (N,)", "pass one class number for each image"
        )
    if y.dtype != torch.int64:
        raise InputError(f"{name}: labels of type {_short(y.dtype)}", "int64", "write y.long()")
    if len(y) != n:
        raise InputError(
            f"{name}: {n:,} images and {len(y):,} labels", "one label an image", "check what was cut"
        )
    low, high = (int(end) for end in torch.aminmax(y))
    if classes == 0 and low == high == UNLABELLED:
        return
    if low < 0:
        raise InputError(
            f"{name}: a label of {low}",
            "labels from 0",
            "drop examples without a label (harden.data.unlabelled takes them), or number classes from 0",
        )
    if classes is not None and high >= classes:
        raise InputError(
            f"{name}: a label of {high} with {classes} classes",
            f"labels in 0..{classes - 1}",
            "number classes from 0 and name each of them in classes",
        )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
