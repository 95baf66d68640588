"""Adapt what users pass as data into one thing that training can go through, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from harden.data.arrays import images, labels
from harden.data.batch import Batch
from harden.data.examples import Examples
from harden.data.indexed import LoaderSource, from_data_loader
from harden.data.memory import ExamplesSource
from harden.data.pairs import annotated, as_pair
from harden.data.splitting import Splits
from harden.errors import InputError

MEMORY_LIMIT = 2 * 2**30
"""Bytes of images that `from_loader` keeps of a loader without random access."""


class Source(Protocol):
    """Give batches of a set of examples whose positions stay the same from epoch to epoch."""

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


def from_loader(loader: object, batch_size: int = 128) -> Source:
    """Adapt what a user passes as training data.

    Args:
        loader: a Source (comes back as it is) · Examples · a pair (x, y) of tensors, images (N, C, H, W), or
            of numpy arrays, images (N, H, W, C) · a DataLoader over a map-style dataset, whose batch size,
            workers and collate_fn are kept, and whose order is replaced · such a dataset itself · any
            iterable of pairs (x, y), which is read once and kept in memory, up to `MEMORY_LIMIT`.
        batch_size: for what has no batch size of its own.

    Raises:
        InputError: none of these, empty, too large to keep, or with images or labels that data can't have.
    """
    if isinstance(loader, ExamplesSource | LoaderSource):
        return loader
    if isinstance(loader, Examples):
        return ExamplesSource(loader, batch_size)
    if isinstance(loader, Splits):
        raise InputError("Splits as a loader", "one part of them", "pass splits.train")
    if isinstance(loader, tuple | list) and len(loader) == 2 and _is_array(loader[0]):
        return ExamplesSource(
            _in_memory(images(loader[0], "x"), labels(loader[1], "y"), "(x, y)"), batch_size
        )
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        loader = DataLoader(loader, batch_size=batch_size)
    if isinstance(loader, DataLoader) and _has_positions(loader):
        return from_data_loader(loader)
    if all(callable(getattr(loader, name, None)) for name in ("epoch", "hold_out", "describe", "__len__")):
        return loader  # type: ignore[return-value]  # a user's own Source
    if isinstance(loader, Iterable) and not isinstance(loader, str | bytes | dict):
        return _materialised(loader)
    raise InputError(
        f"a loader of type {type(loader).__name__}",
        "a DataLoader, Examples, a pair (x, y), or an iterable of pairs (x, y)",
        "pass torch.utils.data.DataLoader(dataset, batch_size=128)",
    )


def _is_array(value: object) -> bool:
    # A pair of batches [(x, y), (x, y)] is a tuple of two as well.
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _has_positions(loader: DataLoader[Any]) -> bool:
    batched = loader.batch_sampler is not None
    return batched and not isinstance(loader.dataset, IterableDataset)


def _in_memory(x: Tensor, y: Tensor, name: str) -> Examples:
    x = x.float() if x.dtype in (torch.float64, torch.float16, torch.bfloat16) else x
    highest = int(y.max()) if y.ndim == 1 and len(y) and y.dtype == torch.int64 else 0
    return Examples(x.detach(), y, tuple(str(label) for label in range(highest + 1)), name)


def _materialised(loader: Iterable[Any]) -> ExamplesSource:
    name = type(loader).__name__
    parts: list[tuple[Tensor, Tensor]] = []
    held = 0
    for item in annotated(iter(loader), name):
        x, y = as_pair(item, name)
        held += x.numel() * x.element_size()
        if held > MEMORY_LIMIT:
            raise InputError(
                f"{name}: over {MEMORY_LIMIT / 2**30:.0f} GiB of images from a loader without random access",
                "less, or a dataset with __getitem__ and __len__",
                "pass a DataLoader over a map-style dataset, whose images are read when they are needed",
            )
        # A loader may give the same memory again with other content.
        parts.append((x.detach().clone(), y.detach().clone()))
    if not parts:
        raise InputError(f"{name}: no batches", "at least one", "pass a fresh iterator, or check its filter")
    forms = {(x.dtype, tuple(x.shape[1:])) for x, _ in parts}
    if len(forms) > 1:
        raise InputError(
            f"{name}: images of {len(forms)} kinds: {sorted(map(str, forms))}",
            "one type and size",
            "convert them",
        )
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return ExamplesSource(_in_memory(x, y, name), len(parts[0][0]))
