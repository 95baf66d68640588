"""Identity of a run's data, by which a resumed run detects other data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from torch import Tensor

from harden.data.batch import Batch
from harden.data.sources.dataloader import LoaderSource
from harden.data.sources.in_memory import ExamplesSource
from harden.data.sources.source import Source
from harden.data.sources.stream import StreamSource
from harden.data.splits.duplicates import image_keys
from harden.description import JSON

HASHED_IMAGES = 256
"""Number of images that are hashed of a set that is not in memory."""


def identity(source: Source) -> dict[str, JSON]:
    """Return values that are equal for two runs on the same data, independent of process and batch size.

    `n` examples; `labels` and `groups`, a sha256 of them in their order, where no image has to be read for
    them; `positions`, of a part of a loader's dataset or of a stream; `drop_last`, whether a loader leaves an
    incomplete batch out; `images`, a sha256 of images and labels in their order, since splits and attacks
    depend on positions: of all images in memory, of about the first 256 of a loader or a stream, of the first
    batch of a user's own Source. A difference in later images is not detected.
    """
    labels = groups = positions = None
    if isinstance(source, ExamplesSource):
        labels, groups, hashed = source.labels(), source.examples.groups, source.resized(1024).epoch(None)
    elif isinstance(source, LoaderSource):
        labels, groups, positions = source.known_labels(), source.groups, source.positions
        hashed = _first(source.resized(64))
    elif isinstance(source, StreamSource):
        labels, groups, positions = source.labels(), source.groups, source.chosen.nonzero()
        hashed = _first(source.resized(64))
    else:
        hashed = _first(source, 1)
    parts = {"labels": labels, "groups": groups, "positions": positions}
    return {
        "n": len(source),
        **{key: _sha256(part) for key, part in parts.items()},
        "drop_last": isinstance(source, LoaderSource) and source.drop_last,
        "images": _in_order(hashed),
    }


def _in_order(batches: Iterator[Batch]) -> str:
    """Hash images and labels in their order, independent of the batch size."""
    digest = hashlib.sha256()
    for batch in batches:
        keys = image_keys([batch]).astype("<u8")
        labels = batch.y.cpu().numpy().astype("<i8")
        for key, label in zip(keys, labels, strict=True):
            digest.update(key.tobytes() + label.tobytes())
    return digest.hexdigest()


def _first(source: Source, images: int = HASHED_IMAGES) -> Iterator[Batch]:
    """Return the first batches, in order, until they hold `images` images."""
    seen = 0
    for batch in source.epoch(None):
        yield batch
        seen += len(batch)
        if seen >= images:
            return


def _sha256(numbers: Tensor | None) -> str | None:
    if numbers is None:
        return None
    return hashlib.sha256(numbers.cpu().numpy().astype("<i8").tobytes()).hexdigest()
