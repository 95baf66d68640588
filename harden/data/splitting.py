"""Stratified splits that depend on the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from harden.data.examples import Examples


@final
@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Hold a data set's two parts: one to train on, one that only the final evaluation may touch.

    Args:
        train: the part for training; validation is held out from it.
        test: the part for the certificate.
        name: the data set's name in reports.

    Raises:
        InputError: the two parts differ in image size or in classes.
    """

    train: Examples
    test: Examples
    name: str


def split(
    examples: Examples, fraction: float, seed: int, groups: Tensor | None = None
) -> tuple[Examples, Examples]:
    """Hold out a fraction of each class: gives (rest, held_out)."""
    raise NotImplementedError


def split_indices(
    y: Tensor, fraction: float, seed: int, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Give the positions, int64 ascending, of (rest, held_out) for labels y (N,)."""
    raise NotImplementedError
