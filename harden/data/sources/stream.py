"""A source of batches over a stream, which is read again in each epoch and never kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from harden.data.batch import Batch
from harden.data.examples import rows, to_unit
from harden.data.sources.in_memory import check_batch_size, no_labels_error
from harden.data.sources.read_batch import BatchReader, annotate_errors
from harden.data.sources.stream_order import FirstPassSample, OrderCheck
from harden.data.sources.transform_rng import draw_seed, with_private_rng
from harden.data.splits.split import split_indices
from harden.errors import InputError

_Examples = tuple[Tensor, Tensor, Tensor]
"""Some examples: x of its stored type, y, and positions among the chosen ones."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class StreamSource:
    """Batches of an iterable that can be iterated repeatedly, in the same order each time.

    Memory holds the labels, the shuffle buffer and a batch: the space for images does not depend on the
    length of the stream.

    Args:
        loader: the user's iterable of batches.
        reader: reader of its batches.
        labels_of_all: labels of the whole stream in the first pass, int64 (N,).
        chosen: True for the examples of the stream that are in this source, bool (N,).
        batch_size: examples in a batch.
        buffer: examples that are shuffled at a time.
        classes: names in the order of the labels, or None.
        groups: group numbers of the whole stream, int64 (N,), or None.
        sample: images of the first pass, by which another order in a later pass is detected; with None labels
            alone are compared.

    Raises:
        InputError: batch_size is below 1.
    """

    loader: Iterable[Any]
    reader: BatchReader
    labels_of_all: Tensor
    chosen: Tensor
    batch_size: int
    buffer: int
    classes: tuple[str, ...] | None = None
    groups: Tensor | None = None
    sample: FirstPassSample | None = None

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def __len__(self) -> int:
        return int(self.chosen.sum())

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Iterate over all examples once: shuffled within the buffer, or in order when the generator is None.

        The iterable is iterated anew, on random states that depend on the generator alone.

        Raises:
            InputError: labels, their number or the places of images differ from those of the first pass.
        """
        seed = draw_seed(generator)
        parts = self._parts(seed)
        if generator is None:
            return _cut(parts, self.batch_size, False)
        return _cut(_mixed(parts, self.buffer, seed), self.batch_size, self.batch_size > 1)

    def hold_out(self, fraction: float, seed: int) -> tuple[StreamSource, StreamSource]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0.

        No group is divided. Each part reads the whole stream in each epoch and skips the other part.

        Raises:
            InputError: the images have no labels, or a part would be empty.
        """
        if not self.reader.labelled:
            raise no_labels_error(self.name)
        groups = None if self.groups is None else self.groups[self.chosen]
        rest, held_out = split_indices(self.labels(), fraction, seed, groups)
        return self.take(rest), self.take(held_out)

    def take(self, index: Tensor) -> StreamSource:
        """Select the examples at these positions, int64 (M,), in the order of the stream."""
        chosen = torch.zeros_like(self.chosen)
        chosen[self.chosen.nonzero().squeeze(1)[index]] = True
        return replace(self, chosen=chosen)

    def resized(self, batch_size: int) -> StreamSource:
        """Return the same examples in batches of another size."""
        return replace(self, batch_size=batch_size)

    def repeats(self) -> bool:
        """Return whether the first batch is equal under other random numbers: no random transforms."""
        batches = (next(with_private_rng(annotate_errors(self.loader, self.name), seed)) for seed in (0, 1))
        one, other = (self.reader.pair(item)[0].clone() for item in batches)
        return torch.equal(one, other)

    def labels(self) -> Tensor:
        """Return all labels, int64 (N,)."""
        return self.labels_of_all[self.chosen]

    @property
    def name(self) -> str:
        """The data's name, after the type of the iterable."""
        return self.reader.name

    def describe(self) -> str:
        """Describe the data in one line."""
        return (
            f"{self.name}: {len(self):,} examples, a stream, shuffled within {self.buffer:,} examples, "
            f"batches of {self.batch_size}"
        )

    def _parts(self, seed: int) -> Iterator[_Examples]:
        """Read the stream, compare it with the first pass, and yield the chosen examples."""
        seen = taken = 0
        check = None if self.sample is None else self.sample.order_check()
        items = with_private_rng(annotate_errors(self.loader, self.name), seed)
        for item in items:
            x, y = self.reader.pair(item)
            expected = self.labels_of_all[seen : seen + len(y)]
            if not torch.equal(y, expected):
                raise self._changed(f"other labels at examples {seen:,} to {seen + len(y) - 1:,}")
            if check is not None:
                check.add(x)
                self._check_order(check, at_the_end=False)
            keep = self.chosen[seen : seen + len(y)]
            seen += len(y)
            count = int(keep.sum())
            if count:
                # Selecting copies: a loader may yield the same memory again with other content.
                yield rows(x, keep), y[keep], torch.arange(taken, taken + count)
            taken += count
        if seen != len(self.labels_of_all):
            raise self._changed(f"{seen:,} examples instead of {len(self.labels_of_all):,}")
        if check is not None and self.sample is not None:
            self._check_order(check, at_the_end=True)
            self.sample.warn_of_transforms(check.differ, self.name)

    def _check_order(self, check: OrderCheck, at_the_end: bool) -> None:
        moved = check.moved(at_the_end)
        if moved is not None:
            raise self._changed(moved)

    def _changed(self, how: str) -> InputError:
        return InputError(
            f"{self.name}: {how} than in the first pass",
            "the same examples in the same order each time: it would mix training and held-out images",
            "turn its own shuffling off (harden shuffles), or pass a dataset with __getitem__ and __len__",
        )


def _mixed(parts: Iterator[_Examples], buffer: int, seed: int) -> Iterator[_Examples]:
    """Shuffle within a buffer: when it is full, a random half of its examples is yielded."""
    generator = torch.Generator().manual_seed(seed)
    held: list[_Examples] = []
    for part in parts:
        held.append(part)
        del part  # no reference may keep images alive while the consumer works
        count = _count(held)
        if count >= buffer:
            yield _drawn(held, (count + 1) // 2, generator)
    if held:
        yield _drawn(held, _count(held), generator)


def _drawn(held: list[_Examples], count: int, generator: torch.Generator) -> _Examples:
    """Remove `count` random examples from the buffer and return them."""
    pool = _joined(held)
    held.clear()
    order = torch.randperm(len(pool[1]), generator=generator)
    if count < len(order):
        held.append(_select(pool, order[count:]))
    return _select(pool, order[:count])


def _cut(parts: Iterator[_Examples], size: int, join: bool) -> Iterator[Batch]:
    """Cut a stream into batches of `size`; with `join` a last batch of one is joined to the batch before."""
    enough = size + 2 if join else size  # so that the last batch never has one example
    held: list[_Examples] = []
    for part in parts:
        held.append(part)
        del part
        if _count(held) < enough:
            continue
        held = [_joined(held)]
        while _count(held) >= enough:
            yield _first(held, size)
        x, y, index = held.pop()
        if len(y):  # copied, so that the memory of the whole part is freed
            held.append((x.clone(), y.clone(), index.clone()))
        del x, y, index
    if held:
        yield _first([_joined(held)], _count(held))


def _first(held: list[_Examples], size: int) -> Batch:
    """Remove the first `size` examples from the buffer's only part and return them as a batch."""
    x, y, index = held[0]
    held[0] = (x[size:], y[size:], index[size:])
    return Batch(to_unit(x[:size].clone()), y[:size].clone(), index[:size].clone())


def _count(held: list[_Examples]) -> int:
    return sum(len(y) for _, y, _ in held)


def _joined(parts: list[_Examples]) -> _Examples:
    if len(parts) == 1:
        return parts[0]
    x, y, index = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return x, y, index


def _select(pool: _Examples, order: Tensor) -> _Examples:
    x, y, index = pool
    return rows(x, order), y[order], index[order]
