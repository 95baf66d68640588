"""A source of batches over a user's DataLoader, with each example's position beside it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from harden.data.batch import Batch
from harden.data.memory import epoch_indices
from harden.data.pairs import annotated, as_batch
from harden.data.splitting import split_indices
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True, eq=False)
class LoaderSource:
    """Give batches of some positions of a map-style dataset, fetched as a user's DataLoader fetches them.

    Args:
        loader: the user's loader; its dataset, workers and collate_fn are used, its order is not.
        positions: which of the dataset's examples, int64 (N,).
        batch_size: examples in a batch.
        drop_last: whether a shuffled epoch leaves out an incomplete last batch.
    """

    loader: DataLoader[Any]
    positions: Tensor
    batch_size: int
    drop_last: bool

    def __len__(self) -> int:
        return len(self.positions)

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Go through all examples once: shuffled by the generator, in order when it is None.

        Workers, and transforms that run in this process, are seeded from the generator too; the global random
        states of torch, numpy and Python are left as found.
        """
        order = epoch_indices(len(self), self.batch_size, generator, self.drop_last and generator is not None)
        seed = 0
        if generator is not None:
            seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        # The loader keeps the order of its batch sampler, so that positions need no way through the workers.
        items = self._fetch(order, seed)
        return (as_batch(item, index, self._name) for index, item in zip(order, items, strict=True))

    def hold_out(self, fraction: float, seed: int) -> tuple[LoaderSource, LoaderSource]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0.

        Labels come from the dataset's `targets` or `labels`; where it has none, each example is read once.
        The held-out part goes through the same transforms as the rest.
        """
        rest, held_out = split_indices(self.labels(), fraction, seed)
        return replace(self, positions=self.positions[rest]), replace(
            self, positions=self.positions[held_out]
        )

    def describe(self) -> str:
        """Say in one line what the data is."""
        return (
            f"{self._name}: {len(self):,} examples, batches of {self.batch_size}, "
            f"{self.loader.num_workers} workers"
        )

    @property
    def _name(self) -> str:
        return f"DataLoader over {type(self.loader.dataset).__name__}"

    def labels(self) -> Tensor:
        """Give all labels, int64 (N,), without reading images where the dataset stores its labels."""
        stored = _stored_labels(self.loader.dataset)
        if stored is not None:
            return stored[self.positions]
        return torch.cat([batch.y for batch in self.epoch(None)])

    def _fetch(self, order: list[Tensor], seed: int) -> Iterator[Any]:
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
        items = annotated(iter(loader), self._name)
        return items if old.num_workers else _privately_seeded(items, seed)


def from_data_loader(loader: DataLoader[Any]) -> LoaderSource:
    """Adapt a DataLoader over a map-style dataset.

    Raises:
        InputError: the dataset is empty or has no length, or a sampler decides on more than the order.
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
    return LoaderSource(loader, positions, cut.batch_size, cut.drop_last)


def _covers(sampler: Any, n: int) -> bool:
    return len(sampler) == n and not getattr(sampler, "replacement", False)


def _refused(sampler: object) -> InputError:
    return InputError(
        f"a DataLoader with a {type(sampler).__name__} that chooses or repeats examples",
        "one that takes each example once, in order or shuffled, or a SubsetRandomSampler",
        "pass a torch.utils.data.Subset for a part, or iter(loader) to keep one pass of it as it comes",
    )


def _stored_labels(dataset: object) -> Tensor | None:
    """Give a dataset's labels, int64 (N,), where they can be had without reading images."""
    if isinstance(dataset, Subset):
        inner = _stored_labels(dataset.dataset)
        return None if inner is None else inner[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [_stored_labels(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if len(known) == len(parts) else None
    if getattr(dataset, "target_transform", None) is not None:
        return None  # what is stored is not what comes out
    stored = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        stored = dataset.tensors[1]
    if not isinstance(stored, Tensor | np.ndarray | list | tuple):
        return None
    array = np.asarray(stored)
    fits = array.shape == (len(dataset),) and array.dtype.kind in "iu"  # type: ignore[arg-type]
    return torch.from_numpy(array.astype(np.int64)) if fits else None


def _privately_seeded(items: Iterator[Any], seed: int) -> Iterator[Any]:
    """Go through items that transforms in this process compute, on random states of their own.

    torch seeds workers; without workers the user's transforms draw from the process's global states, which
    would make them depend on everything else that draws.
    """
    states = _seeded_states(seed)
    while True:
        outside = _global_states()
        _set_global_states(states)
        try:
            item = next(items)
        except StopIteration:
            return
        finally:
            states = _global_states()
            _set_global_states(outside)
        yield item


_States = tuple[Tensor, tuple[Any, ...], dict[str, Any]]


def _global_states() -> _States:
    return torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)


def _set_global_states(states: _States) -> None:
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])


def _seeded_states(seed: int) -> _States:
    legacy = np.random.RandomState(seed % 2**32).get_state(legacy=False)
    own = torch.Generator().manual_seed(seed).get_state()
    return own, random.Random(seed).getstate(), legacy  # noqa: S311
