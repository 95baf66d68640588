"""Data in one npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harden.data.arrays import KEYS, OPTIONAL, from_arrays
from harden.data.splitting import Splits
from harden.errors import InputError

_RECIPE = "write it with np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"


def load_npz(path: str) -> Splits:
    """Load x_train, y_train, x_test, y_test from an npz file and, where they are there, some more.

    Images are (N, H, W, C) or (N, H, W): uint8, uint16, or float32 in [0, 1]. Nothing is unpickled. More:
    classes (names), group_train and group_test (integers or strings), x_unlabelled (images).

    Raises:
        InputError: the file is missing, damaged, no npz, holds objects, or lacks an array; or as Examples.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"npz:{path}: no such file", "an npz file", _RECIPE)
    try:
        stored = _read(file)
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(
            f"npz:{path}: unreadable ({error})", "an npz file of plain arrays, complete", _RECIPE
        ) from error
    missing = [key for key in KEYS if key not in stored]
    if missing:
        raise InputError(
            f"npz:{path}: {', '.join(missing)} missing; it holds {', '.join(stored) or 'nothing'}",
            ", ".join(KEYS),
            _RECIPE,
        )
    return from_arrays(stored, file.stem, _classes(stored.get("classes"), path))


def _read(file: Path) -> dict[str, NDArray[np.generic]]:
    if not zipfile.is_zipfile(file):
        raise ValueError("not a zip archive")
    # Opened here: on some damaged files numpy would leave it open.
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        wanted = [key for key in archive.files if key in (*KEYS, *OPTIONAL, "classes")]
        if not set(KEYS) <= set(wanted):
            # Others are named in the error, not read: they may be large or hold objects.
            return dict.fromkeys(archive.files, np.empty(0))
        return {key: archive[key] for key in wanted}


def _classes(stored: NDArray[np.generic] | None, path: str) -> list[str] | None:
    if stored is None:
        return None
    if stored.ndim != 1 or stored.dtype.kind not in "US":
        raise InputError(
            f"npz:{path}: classes of type {stored.dtype} and shape {stored.shape}",
            "a list of names",
            "write classes=np.array(['cat', 'dog'])",
        )
    return [name.decode() if isinstance(name, bytes) else str(name) for name in stored.tolist()]
