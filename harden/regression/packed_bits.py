"""One bit an image, as text that a diff can show: rows of 256 images, 64 hexadecimal digits each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROW = 64


def packed(mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Write a mask (n,) as rows: the hexadecimal digits of `numpy.packbits`, padded with zeros."""
    digits = np.packbits(mask).tobytes().hex()
    return tuple(digits[at : at + _ROW] for at in range(0, len(digits), _ROW))


def unpacked(rows: tuple[str, ...], n: int) -> NDArray[np.bool_]:
    """Read the mask (n,) that `packed` wrote.

    Raises:
        ValueError: the rows are not what `packed` writes for n images.
    """
    content = np.frombuffer(bytes.fromhex("".join(rows)), dtype=np.uint8)
    mask = np.unpackbits(content)[:n].astype(np.bool_)
    if len(mask) != n or packed(mask) != rows:
        raise ValueError(f"rows that do not hold {n} bits")
    return mask
