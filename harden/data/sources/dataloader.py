"""A source of batches over a user's DataLoader, with each example's position beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, SubsetRandomSampler

from harden.data.batch import Batch
from harden.data.image_checks import UNLABELLED
from harden.data.sources.dataset_metadata import dataset_name, stored_classes, stored_groups, stored_labels
from harden.data.sources.in_memory import check_batch_size, epoch_indices, no_labels
from harden.data.sources.read_batch import Reader, annotated
from harden.data.sources.transform_rng import drawn_seed, privately_seeded
from harden.data.splits.groups import check_groups, group_numbers
from harden.data.splits.split import split_indices
from harden.errors import InputError

_LOOKED_AT = 32


@final
@dataclass(frozen=True, slots=True, eq=False)
class LoaderSource:
    """Give batches of some positions of a map-style dataset, fetched as a user's DataLoader fetches them.

    Args:
        loader: the user's loader; its dataset, workers and collate_fn are used, its order is not.
        positions: which of the dataset's examples, int64 (N,).
        batch_size: examples in a batch.
        drop_last: whether a shuffled epoch leaves out an incomplete last batch.
        reader: how to read what the loader yields.
        groups: what belongs together, int64 (N,), or None.

    Raises:
        InputError: batch_size is below 1.
    """

    loader: DataLoader[Any]
    positions: Tensor
    batch_size: int
    drop_last: bool
    reader: Reader
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def __len__(self) -> int:
        return len(self.positions)

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Go through all examples once: shuffled by the generator, in order when it is None.

        Workers, and transforms that run in this process, are seeded from the generator too; the global random
        states of torch, numpy and Python are left as found.
        """
        order = epoch_indices(len(self), self.batch_size, generator, self.drop_last and generator is not None)
        # The loader keeps the order of its batch sampler, so that positions need no way through the workers.
        items = self._fetch(order, drawn_seed(generator))
        return (self.reader.batch(item, index) for index, item in zip(order, items, strict=True))

    def hold_out(self, fraction: float, seed: int) -> tuple[LoaderSource, LoaderSource]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0.

        Labels come from the dataset's `targets` or `labels`; where it has none, each example is read once.
        No group is parted. The held-out part goes through the same transforms as the rest.

        Raises:
            InputError: the images have no labels, or a part would be empty.
        """
        if not self.reader.labelled:
            raise no_labels(self.name)
        rest, held_out = split_indices(self.labels(), fraction, seed, self.groups)
        return self.take(rest), self.take(held_out)

    def take(self, index: Tensor) -> LoaderSource:
        """Select the examples at these positions, int64 (M,), in their order; they count anew from 0."""
        groups = None if self.groups is None else self.groups[index]
        return replace(self, positions=self.positions[index], groups=groups)

    def resized(self, batch_size: int) -> LoaderSource:
        """Give the same examples in batches of another size."""
        return replace(self, batch_size=batch_size)

    def describe(self) -> str:
        """Say in one line what the data is."""
        return (
            f"{self.name}: {len(self):,} examples, batches of {self.batch_size}, "
            f"{self.loader.num_workers} workers"
        )

    @property
    def name(self) -> str:
        """What to call the data: by the type of the dataset."""
        return self.reader.name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The dataset's `classes`, names in the order of the labels, or None."""
        return stored_classes(self.loader.dataset) if self.reader.labelled else None

    def repeats(self) -> bool:
        """Whether the first images come out the same under other random numbers: no random transforms."""
        first = [torch.arange(len(self))[: min(self.batch_size, _LOOKED_AT)]]
        one, other = (self.reader.pair(next(self._fetch(first, seed)))[0] for seed in (0, 1))
        return torch.equal(one, other)

    def labels(self) -> Tensor:
        """Give all labels, int64 (N,), without reading images where the dataset stores its labels."""
        stored = self.known_labels()
        return torch.cat([batch.y for batch in self.epoch(None)]) if stored is None else stored

    def known_labels(self) -> Tensor | None:
        """Give all labels, int64 (N,), where that needs no image to be read; None elsewhere."""
        if not self.reader.labelled:
            return torch.full((len(self),), UNLABELLED)
        stored = stored_labels(self.loader.dataset, self.reader.fields)
        return None if stored is None else stored[self.positions]

    def _fetch(self, order: list[Tensor], seed: int) -> Iterator[Any]:
        # Workers begin anew each epoch, also where the loader says persistent_workers: a worker's random
        # state is set when it starts, and has to follow from the epoch's seed, or no run could be repeated.
        old = self.loader
        loader: DataLoader[Any] = DataLoader(
            old.dataset,
            batch_sampler=[self.positions[index].tolist() for index in order],
            num_workers=old.num_workers,
            collate_fn=old.collate_fn,
            pin_memory=old.pin_memory,
            timeout=old.timeout,
            worker_init_fn=old.worker_init_fn,
            multiprocessing_context=old.multiprocessing_context,
            generator=torch.Generator().manual_seed(seed),
            prefetch_factor=old.prefetch_factor,
        )
        items = annotated(loader, self.name)
        return items if old.num_workers else privately_seeded(items, seed)


def loader_name(loader: DataLoader[Any]) -> str:
    """What to call a DataLoader in messages and reports."""
    return f"DataLoader over {dataset_name(loader.dataset)}"


def from_data_loader(loader: DataLoader[Any], reader: Reader, groups: object = None) -> LoaderSource:
    """Adapt a DataLoader over a map-style dataset.

    Args:
        loader: the user's.
        reader: how to read what it yields.
        groups: one for each example of the dataset; the dataset's own `groups` where None.

    Raises:
        InputError: the dataset is empty or has no length, a sampler decides on more than the order, or groups
            are not one for each example.
    """
    if not isinstance(loader.dataset, Sized):
        raise InputError(
            f"a {type(loader.dataset).__name__} without a length", "a dataset with __len__", "define __len__"
        )
    cut = loader.batch_sampler
    if type(cut) is not BatchSampler:
        raise _refused(cut)
    sampler, n = cut.sampler, len(loader.dataset)
    if type(sampler) is SubsetRandomSampler:
        positions = torch.tensor(list(sampler.indices), dtype=torch.int64)
    elif type(sampler) in (SequentialSampler, RandomSampler) and _covers(sampler, n):
        positions = torch.arange(n)
    else:
        raise _refused(sampler)
    if len(positions) == 0:
        raise InputError("a DataLoader over no examples", "at least one example", "check its path and filter")
    known = _groups(loader.dataset, n, groups, reader.name)
    if known is not None:
        known = known[positions]
    return LoaderSource(loader, positions, cut.batch_size, cut.drop_last, reader, known)


def _groups(dataset: object, n: int, groups: object, name: str) -> Tensor | None:
    groups = stored_groups(dataset, name) if groups is None else groups
    if groups is None:
        return None
    (numbers,) = group_numbers([groups], [name])
    check_groups(numbers, n, name)
    return numbers


def _covers(sampler: Any, n: int) -> bool:
    return len(sampler) == n and not getattr(sampler, "replacement", False)


def _refused(sampler: object) -> InputError:
    return InputError(
        f"a DataLoader with a {type(sampler).__name__} that chooses or repeats examples",
        "one that takes each example once, in order or shuffled, or a SubsetRandomSampler",
        "pass a torch.utils.data.Subset for a part, or iter(loader) to keep one pass of it as it comes",
    )
