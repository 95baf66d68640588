"""Identical images, found by a short hash of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harden.data.batch import Batch

KEY_BYTES = 16
"""128 bits: among a billion images a chance of about 1e-21 that any two different ones agree."""


def image_keys(batches: Iterable[Batch]) -> NDArray[np.uint64]:
    """Return a key (N, 2) for each image, equal where pixels in [0, 1] and (C, H, W) are equal.

    BLAKE2b over C, H, W as little-endian int64 and the pixels as little-endian float32. Memory: 16 bytes
    an image, whatever its size.
    """
    keys = bytearray()
    for batch in batches:
        shape = np.array(batch.x.shape[1:], dtype="<i8").tobytes()
        # -0.0 equals 0.0 and has other bytes; adding 0.0 makes them equal.
        for image in batch.x.detach().cpu().numpy().astype("<f4") + np.float32(0):
            keys += hashlib.blake2b(shape + image.tobytes(), digest_size=KEY_BYTES).digest()
    return np.frombuffer(bytes(keys), dtype="<u8").astype(np.uint64).reshape(-1, 2)


def number_keys(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number keys (N, 2) from 0, equal keys by equal numbers: int64 (N,)."""
    _, number = np.unique(keys, axis=0, return_inverse=True)
    return number.reshape(-1).astype(np.int64)
