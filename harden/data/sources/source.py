"""What training and evaluation go through: batches of a set whose positions stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from harden.data.batch import Batch


class Source(Protocol):
    """Give batches of a set of examples whose positions stay the same from epoch to epoch.

    harden's own sources also have `name`, `classes` (names or None), `labels()`, `take(index)` and
    `resized(batch_size)`; a source of your own may do without.
    """

    @property
    def batch_size(self) -> int:
        """How many examples a batch has; the last of an epoch may differ."""
        ...

    def __len__(self) -> int:
        """Count the examples; Batch.index is in 0..len - 1."""
        ...

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Go through all examples once: shuffled by the generator, in order when it is None.

        The generator is used at the call and never after it, so that a caller may go on drawing from it, and
        so that the order does not depend on how far workers have read ahead.
        """
        ...

    def hold_out(self, fraction: float, seed: int) -> tuple[Source, Source]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0."""
        ...

    def describe(self) -> str:
        """Say in one line what the data is."""
        ...
