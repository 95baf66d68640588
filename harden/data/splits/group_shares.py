"""Choice of whole groups to hold out that together are nearest to a given share of the examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

_Integers = NDArray[np.int64]
_Choice = NDArray[np.bool_]  # (G,), one for each group

TOLERANCE = 0.1
"""Relative deviation from the wanted number within which the classes decide the choice of groups."""

_ATTEMPTS = 64
_WORK = 400_000  # pairs of group and class that all attempts together process
_TABLE = 1_000_000_000  # largest table of sums that is computed


def groups_held_out(
    labels: _Integers, groups: _Integers, fraction: float, wanted: int, seed: int
) -> NDArray[np.bool_]:
    """Choose whole groups of about `wanted` examples together; (N,), True where an example is held out.

    Of all candidate choices, those are preferred whose number is within `TOLERANCE` of `wanted`, or as near
    to it as any sum of groups; among these, those with most classes in both parts; among these, those whose
    counts of classes are nearest to the fraction. Every class keeps an example in the
    rest. The choice depends on the arguments alone.

    Args:
        labels: (N,).
        groups: (N,), equal for examples of one group.
        fraction: share to hold out.
        wanted: number of examples to hold out.
        seed: of the choice.

    Returns:
        all False where no group can be held out.
    """
    table = _Table.of(labels, groups, fraction)
    first = table.greedy(_order(table.size, seed))
    if table.gap(first, wanted) <= TOLERANCE * wanted and not table.missing(first):
        return first[table.group]
    found = [first]
    band = int(TOLERANCE * wanted)
    for attempt in range(max(1, min(_ATTEMPTS, _WORK // len(table.counts)))):
        found.append(table.filled(_order(table.size, seed, attempt + 1), wanted, band))
    if min(table.gap(each, wanted) for each in found) > band:
        for attempt in range(4):
            found += table.nearest(_order(table.size, seed, attempt + 1), wanted)
    nearest = min(table.gap(each, wanted) for each in found)
    reach = max(band, nearest)

    def worth(choice: _Choice) -> tuple[int, float, float]:
        return table.missing(choice), table.distance(choice), table.gap(choice, wanted)

    near = [each for each in found if table.gap(each, wanted) <= reach]
    return min(near, key=worth)[table.group]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Counts of classes in groups, kept sparse: many groups hold one class of many."""

    group: _Integers  # (N,), from 0
    starts: list[int]  # (G + 1,), of each group's entries in the two below
    classes: list[int]
    counts: list[int]
    sizes: list[int]  # (G,)
    total: list[int]  # (K,)
    aim: list[float]  # (K,)

    @classmethod
    def of(cls, labels: _Integers, groups: _Integers, fraction: float) -> _Table:
        _, label, total = np.unique(labels, return_inverse=True, return_counts=True)
        _, group = np.unique(groups, return_inverse=True)
        label, group = label.astype(np.int64), group.astype(np.int64)
        pairs, counts = np.unique(group * len(total) + label, return_counts=True)
        number = int(group.max()) + 1
        starts = np.searchsorted(pairs // len(total), np.arange(number + 1))
        return cls(
            group,
            starts.tolist(),
            (pairs % len(total)).tolist(),
            counts.tolist(),
            np.bincount(group).tolist(),
            total.tolist(),
            (fraction * total).tolist(),
        )

    @property
    def size(self) -> int:
        """Number of groups."""
        return len(self.sizes)

    def of_group(self, group: int) -> list[tuple[int, int]]:
        """The classes of a group and their counts."""
        here = slice(self.starts[group], self.starts[group + 1])
        return list(zip(self.classes[here], self.counts[here], strict=True))

    def held(self, choice: _Choice) -> list[int]:
        """Number of held-out examples of each class."""
        held = [0] * len(self.total)
        for group in np.flatnonzero(choice).tolist():
            for label, count in self.of_group(group):
                held[label] += count
        return held

    def gap(self, choice: _Choice, wanted: int) -> float:
        """Distance of the number of examples from `wanted`; infinite where a part would be empty."""
        number = int(np.asarray(self.sizes)[choice].sum())
        return float(abs(number - wanted)) if 0 < number < len(self.group) else float("inf")

    def missing(self, choice: _Choice) -> int:
        """Number of classes with more than one example of which none is held out."""
        return sum(held == 0 for held, n in zip(self.held(choice), self.total, strict=True) if n > 1)

    def distance(self, choice: _Choice) -> float:
        """Sum of squared distances of the class counts from the fraction of each."""
        return sum((held - aim) ** 2 for held, aim in zip(self.held(choice), self.aim, strict=True))

    def leaves_all(self, group: int, held: list[int]) -> bool:
        """Return whether every class of the group keeps an example in the rest."""
        return all(self.total[label] - held[label] - count > 0 for label, count in self.of_group(group))

    def is_nearer(self, group: int, held: list[int]) -> bool:
        """Return whether adding the group brings the counts of classes nearer to the fraction."""
        return sum(c * (c - 2 * (self.aim[k] - held[k])) for k, c in self.of_group(group)) < 0

    def greedy(self, order: list[int]) -> _Choice:
        """Choose each group that brings the counts nearer, then one for each class without a group."""
        choice, held = np.zeros(self.size, dtype=np.bool_), [0] * len(self.total)
        for group in order:
            if self.is_nearer(group, held) and self.leaves_all(group, held):
                self._take(group, choice, held)
        having = self._having([label for label, count in enumerate(held) if count == 0])
        for label, groups in having.items():
            if held[label] == 0:
                free = (group for group in groups if not choice[group] and self.leaves_all(group, held))
                smallest = min(free, key=self.sizes.__getitem__, default=None)
                if smallest is not None:
                    self._take(smallest, choice, held)
        return choice

    def filled(self, order: list[int], wanted: int, band: int) -> _Choice:
        """Choose groups up to `wanted`: for classes without any, then nearer counts, then any."""
        choice, held, number = np.zeros(self.size, dtype=np.bool_), [0] * len(self.total), 0
        for turn in range(3):
            for group in order:
                if choice[group] or number + self.sizes[group] > wanted + band:
                    continue
                if turn == 0:
                    accepted = any(held[label] == 0 for label, _ in self.of_group(group))
                else:
                    accepted = self.is_nearer(group, held) if turn == 1 else number < wanted - band
                if accepted and self.leaves_all(group, held):
                    self._take(group, choice, held)
                    number += self.sizes[group]
        return choice

    def nearest(self, order: list[int], wanted: int) -> list[_Choice]:
        """Return choices whose number of examples is as near to `wanted` as any sum of groups."""
        nothing = [0] * len(self.total)
        usable = [group for group in order if self.leaves_all(group, nothing)]
        if not usable:
            return []
        top = max(2 * wanted, min(self.sizes[group] for group in usable))
        if len(usable) * top > _TABLE:
            return []
        by = np.full(top + 1, -1, dtype=np.int64)  # the group by which a sum was first reached
        reached = np.zeros(top + 1, dtype=np.bool_)
        reached[0] = True
        for position, group in enumerate(usable):
            size = self.sizes[group]
            if size <= top:
                new = np.flatnonzero(reached[: top + 1 - size] & ~reached[size:]) + size
                by[new], reached[new] = position, True
        sums = np.flatnonzero(reached)[1:]
        chosen = []
        for number in sums[np.argsort(np.abs(sums - wanted), kind="stable")][:_ATTEMPTS].tolist():
            choice, held, left = np.zeros(self.size, dtype=np.bool_), list(nothing), number
            while left and self.leaves_all(usable[by[left]], held):
                self._take(usable[by[left]], choice, held)
                left -= self.sizes[usable[by[left]]]
            if not left:
                chosen.append(choice)
        return chosen

    def _having(self, labels: list[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {label: [] for label in labels}
        for group in range(self.size) if found else ():
            for label, _ in self.of_group(group):
                if label in found:
                    found[label].append(group)
        return found

    def _take(self, group: int, choice: _Choice, held: list[int]) -> None:
        choice[group] = True
        for label, count in self.of_group(group):
            held[label] += count


def _order(size: int, seed: int, attempt: int = 0) -> list[int]:
    """Shuffle groups by raw bits of PCG64, whose stream numpy promises never to change."""
    bits = np.random.PCG64(seed) if attempt == 0 else np.random.PCG64([seed, attempt])
    found: list[int] = np.argsort(bits.random_raw(size), kind="stable").tolist()
    return found
