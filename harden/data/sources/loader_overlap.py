"""Examples shared by two loaders, identified before transforms, which could hide copies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from harden.data.sources.dataloader import LoaderSource
from harden.data.sources.source import Source

_KEY_BYTES = 16


def shared_examples(train: Source, test: Source) -> int:
    """Count examples of `test` that `train` has too, by their stored form; 0 where it is unknown.

    An example is identified by its position in a dataset that both are parts of, by its file (`samples`, as
    in torchvision's ImageFolder), or by its stored pixels (`data`, or a TensorDataset's first tensor).
    """
    if not (isinstance(train, LoaderSource) and isinstance(test, LoaderSource)):
        return 0
    known: set[bytes] = set()
    for dataset, positions in _roots(train.loader.dataset, train.positions):
        known.update(_keys(dataset, positions))
    met = 0
    for dataset, positions in _roots(test.loader.dataset, test.positions):
        met += sum(key in known for key in _keys(dataset, positions))
    return met


def _roots(dataset: object, positions: Tensor) -> list[tuple[object, Tensor]]:
    """Resolve parts of datasets to the datasets that hold the examples, with positions there."""
    if isinstance(dataset, Subset):
        indices = torch.as_tensor(dataset.indices, dtype=torch.int64)
        return _roots(dataset.dataset, indices[positions])
    if isinstance(dataset, ConcatDataset):
        found, begin = [], 0
        for part, end in zip(dataset.datasets, dataset.cumulative_sizes, strict=True):
            inside = positions[(positions >= begin) & (positions < end)] - begin
            found += _roots(part, inside)
            begin = end
        return found
    return [(dataset, positions)]


def _keys(dataset: object, positions: Tensor) -> list[bytes]:
    chosen = positions.tolist()
    samples = _rows(getattr(dataset, "samples", None), dataset)
    if samples is not None and all(_is_file_and_label(samples[k]) for k in chosen[:1]):
        return [_hashed(os.path.realpath(samples[k][0]).encode("utf-8", "surrogateescape")) for k in chosen]
    stored = dataset.tensors[0] if isinstance(dataset, TensorDataset) else getattr(dataset, "data", None)
    pixels = _rows(stored, dataset)
    if isinstance(pixels, Tensor | np.ndarray):
        return [_hashed(_content(pixels[k])) for k in chosen]
    return [_hashed(f"{id(dataset)} {k}".encode()) for k in chosen]


def _rows(stored: Any, dataset: object) -> Any:
    """Return stored values if there is one for each example; None otherwise."""
    if not isinstance(stored, Sized) or not isinstance(dataset, Sized) or len(stored) != len(dataset):
        return None
    return stored


def _is_file_and_label(sample: object) -> bool:
    return isinstance(sample, tuple | list) and bool(sample) and isinstance(sample[0], str | os.PathLike)


def _content(row: Any) -> bytes:
    array = row.detach().cpu().numpy() if isinstance(row, Tensor) else np.asarray(row)
    return repr((array.shape, array.dtype.str)).encode() + array.tobytes()


def _hashed(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_KEY_BYTES).digest()
