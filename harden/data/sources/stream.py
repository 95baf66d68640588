"""A source of batches over a stream: read again in each epoch, never held whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from harden.data.batch import Batch
from harden.data.examples import rows, to_unit
from harden.data.sources.in_memory import check_batch_size, no_labels
from harden.data.sources.read_batch import Reader, annotated
from harden.data.sources.stream_order import Places, Watch
from harden.data.sources.transform_rng import drawn_seed, privately_seeded
from harden.data.splits.split import split_indices
from harden.errors import InputError

_Part = tuple[Tensor, Tensor, Tensor]
"""Some examples on their way: x of its stored type, y, and positions among the chosen ones."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class StreamSource:
    """Give batches of an iterable that can be gone through again and again, in the same order each time.

    In memory are the labels, a buffer in which a shuffled epoch mixes what has come, and a batch: images take
    the same space however long the stream is.

    Args:
        loader: the user's iterable of batches.
        reader: how to read them.
        labels_of_all: of the whole stream, as the first pass found them, int64 (N,).
        chosen: which examples of the stream are in this source, bool (N,).
        batch_size: examples in a batch.
        buffer: examples that a shuffled epoch mixes at a time.
        classes: names in the order of the labels, or None.
        groups: what belongs together, of the whole stream, int64 (N,), or None.
        places: images of the first pass, by which a later pass in another order is told; None: labels alone.

    Raises:
        InputError: batch_size is below 1.
    """

    loader: Iterable[Any]
    reader: Reader
    labels_of_all: Tensor
    chosen: Tensor
    batch_size: int
    buffer: int
    classes: tuple[str, ...] | None = None
    groups: Tensor | None = None
    places: Places | None = None

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def __len__(self) -> int:
        return int(self.chosen.sum())

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Go through all examples once: mixed within the buffer by the generator, in order when it is None.

        The iterable is begun anew, on random states that follow from the generator alone.

        Raises:
            InputError: the stream gives other labels, more or fewer, or images in other places, than in its
                first pass.
        """
        seed = drawn_seed(generator)
        parts = self._parts(seed)
        if generator is None:
            return _cut(parts, self.batch_size, False)
        return _cut(_mixed(parts, self.buffer, seed), self.batch_size, self.batch_size > 1)

    def hold_out(self, fraction: float, seed: int) -> tuple[StreamSource, StreamSource]:
        """Split into (rest, held_out), stratified by label; each counts positions anew from 0.

        No group is parted. Each part goes through the whole stream in each epoch and passes over the other.

        Raises:
            InputError: the images have no labels, or a part would be empty.
        """
        if not self.reader.labelled:
            raise no_labels(self.name)
        groups = None if self.groups is None else self.groups[self.chosen]
        rest, held_out = split_indices(self.labels(), fraction, seed, groups)
        return self.take(rest), self.take(held_out)

    def take(self, index: Tensor) -> StreamSource:
        """Select the examples at these positions, int64 (M,), in the order of the stream."""
        chosen = torch.zeros_like(self.chosen)
        chosen[self.chosen.nonzero().squeeze(1)[index]] = True
        return replace(self, chosen=chosen)

    def resized(self, batch_size: int) -> StreamSource:
        """Give the same examples in batches of another size."""
        return replace(self, batch_size=batch_size)

    def repeats(self) -> bool:
        """Whether the first batch comes out the same under other random numbers: no random transforms."""
        batches = (next(privately_seeded(annotated(self.loader, self.name), seed)) for seed in (0, 1))
        one, other = (self.reader.pair(item)[0].clone() for item in batches)
        return torch.equal(one, other)

    def labels(self) -> Tensor:
        """Give all labels, int64 (N,)."""
        return self.labels_of_all[self.chosen]

    @property
    def name(self) -> str:
        """What to call the data: by the type of the iterable."""
        return self.reader.name

    def describe(self) -> str:
        """Say in one line what the data is."""
        return (
            f"{self.name}: {len(self):,} examples, a stream, mixed within {self.buffer:,} examples, "
            f"batches of {self.batch_size}"
        )

    def _parts(self, seed: int) -> Iterator[_Part]:
        """Go through the stream, checked against the first pass, and keep what is chosen."""
        seen = taken = 0
        watch = None if self.places is None else self.places.watch()
        items = privately_seeded(annotated(self.loader, self.name), seed)
        for item in items:
            x, y = self.reader.pair(item)
            expected = self.labels_of_all[seen : seen + len(y)]
            if not torch.equal(y, expected):
                raise self._changed(f"other labels at examples {seen:,} to {seen + len(y) - 1:,}")
            if watch is not None:
                watch.look(x)
                self._check_places(watch, at_the_end=False)
            keep = self.chosen[seen : seen + len(y)]
            seen += len(y)
            count = int(keep.sum())
            if count:
                # Selecting copies: a loader may give the same memory again with other content.
                yield rows(x, keep), y[keep], torch.arange(taken, taken + count)
            taken += count
        if seen != len(self.labels_of_all):
            raise self._changed(f"{seen:,} examples instead of {len(self.labels_of_all):,}")
        if watch is not None and self.places is not None:
            self._check_places(watch, at_the_end=True)
            self.places.hidden(watch.differ, self.name)

    def _check_places(self, watch: Watch, at_the_end: bool) -> None:
        moved = watch.moved(at_the_end)
        if moved is not None:
            raise self._changed(moved)

    def _changed(self, how: str) -> InputError:
        return InputError(
            f"{self.name}: {how} than in the first pass",
            "the same examples in the same order each time: it would mix training and held-out images",
            "turn its own shuffling off (harden shuffles), or pass a dataset with __getitem__ and __len__",
        )


def _mixed(parts: Iterator[_Part], buffer: int, seed: int) -> Iterator[_Part]:
    """Shuffle within a buffer: when it is full, a random half of what it holds goes on."""
    generator = torch.Generator().manual_seed(seed)
    held: list[_Part] = []
    for part in parts:
        held.append(part)
        del part  # no name may keep images alive while the consumer works
        count = _count(held)
        if count >= buffer:
            yield _drawn(held, (count + 1) // 2, generator)
    if held:
        yield _drawn(held, _count(held), generator)


def _drawn(held: list[_Part], count: int, generator: torch.Generator) -> _Part:
    """Take so many examples out of what is held, which is left with the others."""
    pool = _joined(held)
    held.clear()
    order = torch.randperm(len(pool[1]), generator=generator)
    if count < len(order):
        held.append(_select(pool, order[count:]))
    return _select(pool, order[:count])


def _cut(parts: Iterator[_Part], size: int, join: bool) -> Iterator[Batch]:
    """Cut what comes into batches of `size`; with `join` a lone last example joins the batch before it."""
    enough = size + 2 if join else size  # so that one left over is never the last
    held: list[_Part] = []
    for part in parts:
        held.append(part)
        del part
        if _count(held) < enough:
            continue
        held = [_joined(held)]
        while _count(held) >= enough:
            yield _first(held, size)
        x, y, index = held.pop()
        if len(y):  # copied, so that the part it was cut from is freed
            held.append((x.clone(), y.clone(), index.clone()))
        del x, y, index
    if held:
        yield _first([_joined(held)], _count(held))


def _first(held: list[_Part], size: int) -> Batch:
    """Take the first examples out of the one part that is held, which is left with the others."""
    x, y, index = held[0]
    held[0] = (x[size:], y[size:], index[size:])
    return Batch(to_unit(x[:size].clone()), y[:size].clone(), index[:size].clone())


def _count(held: list[_Part]) -> int:
    return sum(len(y) for _, y, _ in held)


def _joined(parts: list[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    x, y, index = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return x, y, index


def _select(pool: _Part, order: Tensor) -> _Part:
    x, y, index = pool
    return rows(x, order), y[order], index[order]
