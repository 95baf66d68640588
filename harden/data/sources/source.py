"""Protocol of data for training and evaluation: batches of a set with fixed positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from harden.data.batch import Batch


class Source(Protocol):
    """Batches of a set of examples whose positions are the same in every epoch.

    harden's own sources also have `name`, `classes` (names or None), `labels()`, `take(index)` and
    `resized(batch_size)`; a user's own source may lack them.
    """

    @property
    def batch_size(self) -> int:
        """Examples in a batch; the last of an epoch may differ."""
        ...

    def __len__(self) -> int:
        """The number of examples; Batch.index is in 0..len - 1."""
        ...

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Iterate over all examples once: shuffled by the generator, in order when it is None.

        The generator is used at the call and never after it, so a caller may continue to draw from it, and
        the order does not depend on how far workers have read ahead.
        """
        ...

    def hold_out(self, fraction: float, seed: int) -> tuple[Source, Source]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0."""
        ...

    def describe(self) -> str:
        """Describe the data in one line."""
        ...
