"""Loader of npz files."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from harden.data.formats.arrays import ABOUT, KEYS, OPTIONAL, TESTED, from_arrays
from harden.data.image_checks import RATIO, UNPACKED
from harden.data.splits.split import Splits
from harden.errors import InputError
from harden.system.atomic_files import refuse_pointer_at

_RECIPE = "write it with np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"


def load_npz(path: str, *, needs_train: bool = True) -> Splits:
    """Load x_train, y_train, x_test, y_test and optional arrays from an npz file.

    Images are (N, H, W, C) or (N, H, W): uint8, uint16, or float32 in [0, 1]. Nothing is unpickled. Optional:
    classes (names), layout ("NHWC" or "NCHW"), group_train and group_test (integers or strings),
    x_unlabelled (images).

    Args:
        path: path of the file.
        needs_train: whether x_train and y_train are required; see `from_arrays`.

    Raises:
        InputError: the file is missing, damaged, no npz, holds objects, or lacks an array; or as Examples.
    """
    file, needed = Path(path), KEYS if needs_train else TESTED
    if not os.path.isfile(file):
        what = "no such file" if os.path.isdir(file) or not os.path.exists(file) else "no regular file"
        raise InputError(f"npz:{path}: {what}", "an npz file", _RECIPE)
    try:
        stored = _read(file, needed)
    except Exception as error:  # zipfile, its codecs, tokenize and numpy each raise their own classes
        refuse_pointer_at(file)
        raise InputError(
            f"npz:{path}: unreadable ({_short(str(error)) or type(error).__name__})",
            "an npz file of plain arrays, complete",
            _RECIPE,
        ) from error
    missing = [key for key in needed if key not in stored]
    if missing:
        raise InputError(
            f"npz:{path}: {', '.join(missing)} missing; it holds {_short(', '.join(stored)) or 'nothing'}",
            ", ".join(needed),
            _RECIPE,
        )
    half = [key for key in KEYS if key in stored]
    if len(half) == len(KEYS) - 1:
        raise InputError(f"npz:{path}: {', '.join(half)} and no other", "images and labels in pairs", _RECIPE)
    return from_arrays(stored, file.stem, _classes(stored.get("classes"), path), stored.get("layout"))


def _read(file: Path, needed: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    if not zipfile.is_zipfile(file):
        raise ValueError("not a zip archive")
    # Opened here: on some damaged files numpy would leave it open.
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        wanted = [key for key in archive.files if key in (*KEYS, *OPTIONAL, *ABOUT)]
        if not set(needed) <= set(wanted):
            # The error names the other arrays without reading them: they may be large or hold objects.
            return dict.fromkeys(archive.files, np.empty(0))
        _check_sizes(archive.zip, wanted, file.stat().st_size)
        stored = {key: archive[key] for key in wanted}
    for key, array in stored.items():
        if array.dtype.kind == "U":
            _check_text(key, array)
    return stored


def _check_text(key: str, array: NDArray[np.generic]) -> None:
    """Raise ValueError where text holds code points that are no Unicode characters."""
    native = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
    codes = np.frombuffer(native.tobytes(), np.uint32)
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
        raise ValueError(f"{key} holds text that is no Unicode")


def _check_sizes(archive: zipfile.ZipFile, wanted: list[str], size: int) -> None:
    """Raise ValueError where a small file declares large arrays, before memory is allocated for them."""
    names = set(archive.namelist())
    members = [archive.getinfo(f"{key}.npy" if f"{key}.npy" in names else key) for key in wanted]
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(UNPACKED, RATIO * size):
        raise ValueError(f"{size:,} bytes would unpack to {unpacked:,}")
    for member in members:
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else _read_long_header
            shape, _, dtype = read(stream)
            held = member.file_size - stream.tell()
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"{member.filename} has the shape {shape}")
        if dtype.itemsize * math.prod(shape) != held:
            raise ValueError(f"{member.filename} holds {held:,} bytes, not {dtype} of shape {shape}")


def _read_long_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    shape, in_fortran_order, dtype = np.lib.format.read_array_header_2_0(stream)
    return shape, in_fortran_order, dtype


def _short(text: str) -> str:
    """Shorten a text from a file to one line."""
    return " ".join(text.split())[:300]


def _classes(stored: NDArray[np.generic] | None, path: str) -> list[str] | None:
    if stored is None:
        return None
    if stored.ndim != 1 or stored.dtype.kind not in "US":
        raise InputError(
            f"npz:{path}: classes of type {stored.dtype} and shape {stored.shape}",
            "a list of names",
            "write classes=np.array(['cat', 'dog'])",
        )
    try:
        return [name.decode() if isinstance(name, bytes) else str(name) for name in stored.tolist()]
    except UnicodeDecodeError as error:
        raise InputError(
            f"npz:{path}: classes that are not UTF-8 ({error.reason})",
            "a list of names",
            "write classes=np.array(['cat', 'dog'])",
        ) from None
