"""Values while a graph is read: their numbers where they are constants, else their shapes.

The graph is read for several batch sizes at once. What is the same for all is a constant; an integer that
grows with the batch is a size that the batch decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harden.graph.operation_graph import BATCH

Array = NDArray[Any]
Size = tuple[int, ...]
SEVERAL = (2, 3, 5)
"""Batch sizes that a graph with a free one is read for: three, so that a formula in it is seen to be none."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class KnownValue:
    """Numbers that do not depend on the images: one array for each batch size that is read for.

    Args:
        arrays: those.
        roundings: in a row behind them, 0 where they are in the file itself (`constant_rounding`).
    """

    arrays: tuple[Array, ...]
    roundings: int = 0

    @property
    def constant(self) -> bool:
        """True if they do not depend on the batch's size either."""
        first = self.arrays[0]
        return all(
            each is first or (each.shape == first.shape and np.array_equal(each, first))
            for each in self.arrays[1:]
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; one array for all batch sizes is counted once."""
        return sum(each.nbytes for each in {id(array): array for array in self.arrays}.values())


@final
@dataclass(frozen=True, slots=True)
class ComputedValue:
    """Numbers that depend on the images: one shape for each batch size."""

    shapes: tuple[Size, ...]


Value = KnownValue | ComputedValue


def by_batch(entries: Sequence[int], batches: Sequence[int], first: bool) -> int:
    """One size, as seen for each batch size: itself where it is the same, k BATCH where it is k times it.

    Args:
        entries: what it was for each of the batch sizes.
        batches: those.
        first: whether it is the size of the first dimension: with one batch size, that is the batch's.

    Raises:
        ValueError: it is neither.
    """
    if len(batches) == 1:
        return BATCH if first and entries[0] == batches[0] else entries[0]
    if len(set(entries)) == 1:
        return entries[0]
    times = entries[0] // batches[0]
    if times > 0 and all(entry == times * batch for entry, batch in zip(entries, batches, strict=True)):
        return times * BATCH
    raise ValueError(f"sizes {list(entries)} for batches of {list(batches)}")


def shape_of(shapes: Sequence[Size], batches: Sequence[int]) -> Size:
    """A shape with BATCH, or a multiple of it, where the batch decides.

    Raises:
        ValueError: a size follows the batch in another way, or the number of dimensions does.
    """
    if len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"shapes {list(shapes)} for batches of {list(batches)}")
    return tuple(
        by_batch(entries, batches, first=not at) for at, entries in enumerate(zip(*shapes, strict=True))
    )
