"""A source of batches over images in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.data.batch import Batch
from harden.data.examples import Examples, batch_indices
from harden.data.splits.split import split
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True, eq=False)
class ExamplesSource:
    """Batches of examples in memory.

    Args:
        examples: the set.
        batch_size: examples in a batch, at least 1.

    Raises:
        InputError: batch_size is below 1.
    """

    examples: Examples
    batch_size: int

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def __len__(self) -> int:
        return len(self.examples)

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Iterate over all examples once: shuffled by the generator, in order when it is None."""
        order = epoch_indices(len(self), self.batch_size, generator)
        return (self.examples.batch(index) for index in order)

    def hold_out(self, fraction: float, seed: int) -> tuple[ExamplesSource, ExamplesSource]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0.

        No group is divided, nor are images with the same pixels; see `harden.data.split`.

        Raises:
            InputError: the images have no labels, or a part would be empty.
        """
        if not self.examples.classes:
            raise no_labels_error(self.name)
        rest, held_out = split(self.examples, fraction, seed)
        return ExamplesSource(rest, self.batch_size), ExamplesSource(held_out, self.batch_size)

    def take(self, index: Tensor) -> ExamplesSource:
        """Select the examples at these positions, int64 (M,), in their order; they count anew from 0."""
        return ExamplesSource(self.examples.take(index), self.batch_size)

    def resized(self, batch_size: int) -> ExamplesSource:
        """Return the same examples in batches of another size."""
        return ExamplesSource(self.examples, batch_size)

    def labels(self) -> Tensor:
        """Return all labels, int64 (N,)."""
        return self.examples.y

    @property
    def name(self) -> str:
        """The data's name."""
        return self.examples.name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, in the order of their labels; None where there are no labels."""
        return self.examples.classes or None

    def describe(self) -> str:
        """Describe the data in one line."""
        channels, height, width = self.examples.image_shape
        classes = f"{len(self.examples.classes)} classes" if self.examples.classes else "no labels"
        return f"{self.name}: {len(self):,} images {channels}x{height}x{width}, {classes}, in memory"


def check_batch_size(size: int) -> None:
    """Raise InputError unless a batch has at least one example."""
    if size < 1:
        raise InputError(f"a batch size of {size}", "at least 1", "pass a positive batch size")


def no_labels_error(name: str) -> InputError:
    """Make the error for holding out from images without labels."""
    return InputError(
        f"{name}: a part to hold out from images without labels",
        "labels, of which a share is held out",
        "pass them as unlabelled=..., in addition to training data with labels",
    )


def epoch_indices(
    n: int, size: int, generator: torch.Generator | None, drop_last: bool = False
) -> list[Tensor]:
    """Cut an epoch into batches as `batch_indices` does, without a last batch of one in a shuffled epoch.

    Batch normalisation and contrastive losses are undefined on one example; it joins the batch before.
    """
    order = batch_indices(n, size, generator, drop_last)
    if generator is not None and size > 1 and len(order) > 1 and len(order[-1]) == 1:
        order[-2:] = [torch.cat(order[-2:])]
    return order
