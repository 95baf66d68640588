"""Digest of a data set, independent of its order, batches and stored type."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch

from harden.data.batch import Batch


def digest(batches: Iterable[Batch]) -> str:
    """Compute the sha256 (64 hexadecimal digits) of the content of all batches together.

    The sha256 of all examples' own sha256 in ascending order; an example's is over C, H, W and the label as
    little-endian int64, then its pixels in [0, 1] as little-endian float32 in the order (C, H, W). Duplicates
    count. The names of the set and of its classes are not part of it.
    """
    parts: list[bytes] = []
    for batch in batches:
        shape = torch.tensor(batch.x.shape[1:]).numpy().astype("<i8").tobytes()
        pixels, labels = batch.x.detach().cpu().numpy().astype("<f4"), batch.y.cpu().numpy().astype("<i8")
        for image, label in zip(pixels, labels, strict=True):
            parts.append(hashlib.sha256(shape + label.tobytes() + image.tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(parts))).hexdigest()
