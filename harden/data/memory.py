"""A source of batches over images in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.data.batch import Batch
from harden.data.examples import Examples, batch_indices
from harden.data.splitting import split
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True, eq=False)
class ExamplesSource:
    """Give batches of examples in memory.

    Args:
        examples: the set.
        batch_size: examples in a batch, at least 1.

    Raises:
        InputError: batch_size is below 1.
    """

    examples: Examples
    batch_size: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"a batch size of {self.batch_size}", "at least 1", "pass a positive batch size")

    def __len__(self) -> int:
        return len(self.examples)

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Go through all examples once: shuffled by the generator, in order when it is None."""
        order = epoch_indices(len(self), self.batch_size, generator)
        return (self.examples.batch(index) for index in order)

    def hold_out(self, fraction: float, seed: int) -> tuple[ExamplesSource, ExamplesSource]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0."""
        rest, held_out = split(self.examples, fraction, seed)
        return ExamplesSource(rest, self.batch_size), ExamplesSource(held_out, self.batch_size)

    def labels(self) -> Tensor:
        """Give all labels, int64 (N,)."""
        return self.examples.y

    def describe(self) -> str:
        """Say in one line what the data is."""
        channels, height, width = self.examples.image_shape
        return (
            f"{self.examples.name}: {len(self):,} images {channels}x{height}x{width}, "
            f"{len(self.examples.classes)} classes, in memory"
        )


def epoch_indices(
    n: int, size: int, generator: torch.Generator | None, drop_last: bool = False
) -> list[Tensor]:
    """Cut an epoch into batches as `batch_indices` does, but with no lone example at a shuffled epoch's end.

    Batch normalisation and contrastive losses are undefined on one example; it joins the batch before.
    """
    order = batch_indices(n, size, generator, drop_last)
    if generator is not None and size > 1 and len(order) > 1 and len(order[-1]) == 1:
        order[-2:] = [torch.cat(order[-2:])]
    return order
