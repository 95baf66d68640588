"""A source of batches over a user's DataLoader, with the position of each example."""

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
from harden.data.sources.in_memory import check_batch_size, epoch_indices, no_labels_error
from harden.data.sources.read_batch import BatchReader, annotate_errors
from harden.data.sources.transform_rng import draw_seed, with_private_rng
from harden.data.splits.groups import check_groups, group_numbers
from harden.data.splits.split import split_indices
from harden.errors import InputError

_COMPARED_IMAGES = 32


@final
@dataclass(frozen=True, slots=True, eq=False)
class LoaderSource:
    """Batches of some positions of a map-style dataset, fetched as a user's DataLoader fetches them.

    Args:
        loader: the user's loader; its dataset, workers and collate_fn are used, its order is not.
        positions: positions of the examples in the dataset, int64 (N,).
        batch_size: examples in a batch.
        drop_last: whether a shuffled epoch leaves out an incomplete last batch.
        reader: reader of the loader's batches.
        groups: group number of each example, int64 (N,), or None.

    Raises:
        InputError: batch_size is below 1.
    """

    loader: DataLoader[Any]
    positions: Tensor
    batch_size: int
    drop_last: bool
    reader: BatchReader
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def __len__(self) -> int:
        return len(self.positions)

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Iterate over all examples once: shuffled by the generator, in order when it is None.

        Workers, and transforms that run in this process, are seeded from the generator too; the global random
        states of torch, numpy and Python are left as found.
        """
        order = epoch_indices(len(self), self.batch_size, generator, self.drop_last and generator is not None)
        # The loader keeps the order of its batch sampler, so positions need not pass through the workers.
        items = self._fetch(order, draw_seed(generator))
        return (self.reader.batch(item, index) for index, item in zip(order, items, strict=True))

    def hold_out(self, fraction: float, seed: int) -> tuple[LoaderSource, LoaderSource]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0.

        Labels come from the dataset's `targets` or `labels`; where it has none, each example is read once.
        No group is divided. The held-out part goes through the same transforms as the rest.

        Raises:
            InputError: the images have no labels, or a part would be empty.
        """
        if not self.reader.labelled:
            raise no_labels_error(self.name)
        rest, held_out = split_indices(self.labels(), fraction, seed, self.groups)
        return self.take(rest), self.take(held_out)

    def take(self, index: Tensor) -> LoaderSource:
        """Select the examples at these positions, int64 (M,), in their order; they count anew from 0."""
        groups = None if self.groups is None else self.groups[index]
        return replace(self, positions=self.positions[index], groups=groups)

    def resized(self, batch_size: int) -> LoaderSource:
        """Return the same examples in batches of another size."""
        return replace(self, batch_size=batch_size)

    def describe(self) -> str:
        """Describe the data in one line."""
        return (
            f"{self.name}: {len(self):,} examples, batches of {self.batch_size}, "
            f"{self.loader.num_workers} workers"
        )

    @property
    def name(self) -> str:
        """The data's name, after the type of the dataset."""
        return self.reader.name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The dataset's `classes`, names in the order of the labels, or None."""
        return stored_classes(self.loader.dataset) if self.reader.labelled else None

    def repeats(self) -> bool:
        """Return whether the first images are equal under other random numbers: no random transforms."""
        first = [torch.arange(len(self))[: min(self.batch_size, _COMPARED_IMAGES)]]
        one, other = (self.reader.pair(next(self._fetch(first, seed)))[0] for seed in (0, 1))
        return torch.equal(one, other)

    def labels(self) -> Tensor:
        """Return all labels, int64 (N,), without reading images where the dataset stores its labels."""
        stored = self.known_labels()
        return torch.cat([batch.y for batch in self.epoch(None)]) if stored is None else stored

    def known_labels(self) -> Tensor | None:
        """Return all labels, int64 (N,), where no image has to be read for them; None elsewhere."""
        if not self.reader.labelled:
            return torch.full((len(self),), UNLABELLED)
        stored = stored_labels(self.loader.dataset, self.reader.fields)
        return None if stored is None else stored[self.positions]

    def _fetch(self, order: list[Tensor], seed: int) -> Iterator[Any]:
        # Workers are started anew each epoch, also under persistent_workers: a worker's random state is set
        # when it starts and has to follow from the epoch's seed, or no run could be repeated.
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
        items = annotate_errors(loader, self.name)
        return items if old.num_workers else with_private_rng(items, seed)


def loader_name(loader: DataLoader[Any]) -> str:
    """Return the name of a DataLoader for messages and reports."""
    return f"DataLoader over {dataset_name(loader.dataset)}"


def from_data_loader(loader: DataLoader[Any], reader: BatchReader, groups: object = None) -> LoaderSource:
    """Adapt a DataLoader over a map-style dataset.

    Args:
        loader: the user's loader.
        reader: reader of its batches.
        groups: one for each example of the dataset; the dataset's own `groups` where None.

    Raises:
        InputError: the dataset is empty or has no length, a sampler chooses or repeats examples, or groups
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
        "pass a torch.utils.data.Subset for a part, or iter(loader) to keep one pass of it in its order",
    )
