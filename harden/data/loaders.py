"""Adapt what users pass as data into one thing that training can go through, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

import torch

from harden.data.examples import Batch


class Source(Protocol):
    """Give batches of a set of examples whose positions stay the same from epoch to epoch."""

    @property
    def batch_size(self) -> int:
        """How many examples a batch has, but for the last."""

    def __len__(self) -> int:
        """Count the examples; Batch.index is in 0..len - 1."""

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Go through all examples once: shuffled by the generator, in order when it is None."""

    def hold_out(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0."""

    def describe(self) -> str:
        """Say in one line what the data is."""


def from_loader(loader: object, batch_size: int = 128) -> Source:
    """Adapt Examples, (x, y), a DataLoader, a map-style Dataset or any iterable of (x, y) batches."""
    raise NotImplementedError
