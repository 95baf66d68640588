"""Detection of images that are in training and test set at once, which inflate the measured accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.data.examples import Examples
from harden.data.image_checks import UNLABELLED
from harden.data.sources.dataloader import LoaderSource
from harden.data.sources.in_memory import ExamplesSource
from harden.data.sources.loader_adapter import from_loader, is_source
from harden.data.sources.stream import StreamSource
from harden.data.splits.duplicates import image_keys, number_keys
from harden.errors import InputError

_Set = TypeVar("_Set", Examples, ExamplesSource, LoaderSource, StreamSource)


@final
@dataclass(frozen=True, slots=True)
class Leak:
    """A training image and a test image with the same pixels.

    Attributes:
        train: position in the training set.
        test: position in the test set.
        same_label: whether their labels agree; None where one has none.
    """

    train: int
    test: int
    same_label: bool | None


@final
@dataclass(frozen=True, slots=True)
class Leaks:
    """The images that training and test set have in common.

    Attributes:
        pairs: pairs that contain every image of both sets: each such training image with its first copy in
            the test set, then each remaining test image with its first copy in the training set.
        n_train: size of the training set.
        n_test: size of the test set.
    """

    pairs: tuple[Leak, ...]
    n_train: int
    n_test: int

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def train(self) -> Tensor:
        """Positions of the training images that are in the test set too: int64, ascending."""
        return torch.tensor(sorted({leak.train for leak in self.pairs}), dtype=torch.int64)

    @property
    def test(self) -> Tensor:
        """Positions of the test images that are in the training set too: int64, ascending."""
        return torch.tensor(sorted({leak.test for leak in self.pairs}), dtype=torch.int64)

    def listed(self, most: int = 3) -> str:
        """Name the first pairs by their positions."""
        pairs = ", ".join(f"training {pair.train} = test {pair.test}" for pair in self.pairs[:most])
        return pairs + (", ..." if len(self.pairs) > most else "")

    def describe(self) -> str:
        """Describe the result in one line."""
        if not self.pairs:
            return f"none of {self.n_test:,} test images is among {self.n_train:,} training images"
        differ = sum(leak.same_label is False for leak in self.pairs)
        return (
            f"{len(self.test):,} of {self.n_test:,} test images are training images too "
            f"({len(self.train):,} of {self.n_train:,})"
            + (f", {differ:,} of {len(self.pairs):,} pairs under another label" if differ else "")
        )


def leaks(train: object, test: object) -> Leaks:
    """Find the images of `test` that are in `train` too: equal in every pixel in [0, 1], whatever their type.

    Each set is read once; memory is 16 bytes an image. Copies in a set with random transforms are not found.

    Args:
        train: Examples, a Source, or anything that `harden.data.from_loader` accepts.
        test: likewise.

    Raises:
        InputError: as `harden.data.from_loader`.
    """
    (train_keys, train_labels), (test_keys, test_labels) = _keys_and_labels(train), _keys_and_labels(test)
    n_train, n_test = len(train_keys), len(test_keys)
    number = number_keys(np.concatenate((train_keys, test_keys)))
    first_train, first_test = _first(number[:n_train]), _first(number[n_train:])
    pairs = [
        (position, first_test[image])
        for position, image in enumerate(number[:n_train].tolist())
        if image in first_test
    ]
    named = {position for _, position in pairs}
    pairs += [
        (first_train[image], position)
        for position, image in enumerate(number[n_train:].tolist())
        if image in first_train and position not in named
    ]
    found = (Leak(a, b, _agree(train_labels[a], test_labels[b])) for a, b in pairs)
    return Leaks(tuple(found), n_train, n_test)


def without(data: _Set, positions: Tensor) -> _Set:
    """Return a set without the examples at these positions, int64 (M,); the others keep their order.

    Raises:
        InputError: none would be left.
    """
    keep = torch.ones(len(data), dtype=torch.bool)
    keep[positions.cpu()] = False
    if not bool(keep.any()):
        raise InputError(
            f"{data.name}: all {len(data):,} images to be dropped",
            "at least one that remains",
            "check whether the same set was given twice",
        )
    return data.take(keep.nonzero().squeeze(1))


def _keys_and_labels(data: object) -> tuple[NDArray[np.uint64], list[int]]:
    source = data if is_source(data) else from_loader(data, 1024)
    keys: list[NDArray[np.uint64]] = []
    labels: list[int] = []
    for batch in source.epoch(None):
        keys.append(image_keys([batch]))
        labels += batch.y.tolist()
    return np.concatenate(keys), labels


def _first(numbers: NDArray[np.int64]) -> dict[int, int]:
    image, position = np.unique(numbers, return_index=True)
    return dict(zip(image.tolist(), position.tolist(), strict=True))


def _agree(one: int, other: int) -> bool | None:
    return None if UNLABELLED in (one, other) else one == other
