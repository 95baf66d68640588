"""Columns of per-image results, in one block of memory each and beyond a size in a temporary file.

A tensor kept for each batch pins the memory block in which it lies among those of the attacks, so that some
bytes per image become kilobytes. Here values are appended to one block per column, and large columns go to a
temporary file, which exists as long as this process.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from harden.evaluation.results.batch_outcome import BatchWitnesses
from harden.evaluation.results.result import Witnesses
from harden.system.atomic_files import scratch

IN_MEMORY: Final = 2**27
"""Bytes of a column up to which it stays in memory."""

_INTEGERS: Final = ("index", "label", "prediction")
_IMAGES: Final = ("original", "witness")


@final
class SpooledColumn:
    """A column of tensors of one type.

    Args:
        dtype: of storage, int32 or float32.
    """

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        # Open as long as the column exists. Mapped memory outlives it.
        self._file: Any = scratch(IN_MEMORY)
        weakref.finalize(self, self._file.close)
        self._rows = 0
        self._shape: tuple[int, ...] = ()

    def add(self, values: Tensor) -> None:
        """Append rows (n, ...), on any device."""
        self._shape = tuple(values.shape[1:])
        self._rows += len(values)
        self._file.write(values.cpu().numpy().astype(self._dtype).tobytes())

    def tensor(self) -> Tensor:
        """All rows; integers as int64, images as float32, mapped from the file where that is large."""
        self._file.flush()
        shape = (self._rows, *self._shape)
        found: np.ndarray[Any, Any]
        if self._file._rolled and math.prod(shape):
            found = np.memmap(self._file, self._dtype, "c", shape=shape)
        else:
            self._file.seek(0)
            found = np.frombuffer(bytearray(self._file.read()), self._dtype).reshape(shape)
        tensor = torch.from_numpy(found)
        return tensor.long() if self._dtype == np.int32 else tensor


@final
class SpooledWitnesses:
    """The witnesses of all batches, in the order of the images."""

    def __init__(self) -> None:
        self._columns = {name: SpooledColumn(np.int32) for name in _INTEGERS}
        self._columns |= {name: SpooledColumn(np.float32) for name in _IMAGES}

    def add(self, found: Sequence[BatchWitnesses]) -> None:
        """Append the witnesses of one batch."""
        if not found:
            return
        order = torch.cat([one.index for one in found]).argsort()
        for name, column in self._columns.items():
            column.add(torch.cat([getattr(one, name) for one in found])[order])

    def witnesses(self) -> Witnesses:
        """All witnesses, by position."""
        parts = [self._columns[name].tensor() for name in (*_INTEGERS, *_IMAGES)]
        index = parts[0]
        if bool((index[1:] < index[:-1]).any()):
            order = index.argsort()
            parts = [part[order] for part in parts]
        return Witnesses(*parts)


def join_witnesses(found: Sequence[BatchWitnesses]) -> Witnesses:
    """Concatenate witnesses and sort them by position."""
    columns = [torch.cat([getattr(one, name) for one in found]) for name in (*_INTEGERS, *_IMAGES)]
    order = columns[0].argsort()
    return Witnesses(*(column[order] for column in columns))
