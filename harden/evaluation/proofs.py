"""What is proved of each image, beside what attacks have broken: certified, falsified or unknown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from harden.bounds import Method, certify
from harden.bounds.region import Region
from harden.data import from_loader
from harden.errors import InputError
from harden.evaluation.outcome import Evaluation
from harden.evaluation.progress import Standing
from harden.evaluation.proof_journal import ProofJournal
from harden.evaluation.runtime_agreement import (
    Compared,
    Disagreement,
    Execution,
    first_disagreement,
    points_of,
)
from harden.statistics import Proportion

OnProof = Callable[[Standing], None]
VERDICTS = ("certified", "falsified", "unknown")
COMPARED = 256
"""Witnesses at which the runtime is compared with its graphs, the first ones."""


@final
@dataclass(frozen=True, slots=True)
class Search:
    """How proofs are looked for.

    Args:
        method: of each proof.
        steps: of the bisection of each image's radius; radii are multiples of eps / 2^steps.
        minutes: how long it may take; what is proved by then is the result. None for no limit.
        levels: in place of the bisection, the radii to try, rising, in units of eps / 2^steps; an image is
            tried at one when it was proved at the one before.

    Raises:
        InputError: steps out of 0..16, minutes that are not positive, or levels that do not rise from 1 to
            2^steps at most.
    """

    method: Method = field(default_factory=Method)
    steps: int = 4
    minutes: float | None = None
    levels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= 16:
            raise InputError(f"{self.steps} steps of bisection", "0 to 16", "write 4 for sixteenths of eps")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"{self.minutes} minutes", "a positive number", "write minutes=5")
        rising = all(one < other for one, other in pairwise((0, *self.levels, 1 + (1 << self.steps))))
        if not rising:
            seen = f"levels {self.levels} of {self.steps} steps"
            raise InputError(seen, f"rising ones from 1 to {1 << self.steps}", "write levels=(1, 2)")

    @property
    def tried(self) -> tuple[int, ...]:
        """The levels at which images may have been tried."""
        return self.levels or tuple(range(1, 1 + (1 << self.steps)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Proved:
    """An evaluation, and for each of its images the largest radius at which a proof was found.

    Attributes:
        found: the evaluation: what attacks broke at the threat's eps.
        levels: proved radii in units of eps / 2^steps, int64 (n,); 0 where nothing was proved. What is
            proved at a radius holds at every smaller one: its ball lies within.
        search: how proofs were looked for.
        seconds: what it took.
        left: images that stand, and that time did not suffice to try at eps.
        compared: the runtime whose executions were compared with the proofs.
        disagreement: where a runtime left the bounds of the graph that it executes: then nothing is proved.
    """

    found: Evaluation
    levels: Tensor
    search: Search
    seconds: float
    left: int = 0
    compared: Compared = field(default_factory=lambda: Compared("", (), 0))
    disagreement: Disagreement | None = None

    @property
    def top(self) -> int:
        """The level of eps itself."""
        return 1 << self.search.steps

    @property
    def certified(self) -> Tensor:
        """True where every input of the ball of radius eps is proved to be classified right: bool (n,)."""
        return self.levels.eq(self.top)

    @property
    def verdicts(self) -> list[str]:
        """Of each image one of VERDICTS; falsified: an attack broke it, or it is wrong as it is."""
        falsified = ~self.found.robust_correct
        return [
            "certified" if proved else "falsified" if fell else "unknown"
            for proved, fell in zip(self.certified.tolist(), falsified.tolist(), strict=True)
        ]

    @property
    def radii(self) -> list[Fraction]:
        """The largest proved radius of each image, 0 where there is none."""
        return [self.radii_at(index) for index in range(len(self.levels))]

    def radii_at(self, index: int) -> Fraction:
        """The largest proved radius of one image."""
        return self.found.threat.eps * Fraction(int(self.levels[index]), self.top)

    def at_least(self, level: int) -> Proportion:
        """Certified accuracy at radius level * eps / 2^steps, with its exact interval."""
        return Proportion.of((self.levels >= level).tolist())

    @property
    def curve(self) -> tuple[tuple[Fraction, Proportion], ...]:
        """Certified accuracy over the radius, from the smallest radius above 0 up to eps."""
        unit = self.found.threat.eps / self.top
        return tuple((unit * level, self.at_least(level)) for level in range(1, self.top + 1))


def prove(
    executions: Sequence[Execution],
    data: object,
    found: Evaluation,
    search: Search | None = None,
    *,
    batch_size: int = 256,
    arrange: Callable[[Tensor], Tensor] | None = None,
    journal: ProofJournal | None = None,
    on_proof: OnProof | None = None,
) -> Proved:
    """Look for a proof at eps for each image that attacks left standing, and for each image's largest radius.

    First all that stand at eps; then, by bisection, smaller radii for what was not proved there. Images that
    are wrong as they are have radius 0.

    What is proved is compared with the runtime inside the region that it is about, before it counts
    (`runtime_agreement`), and so are the witnesses of attacks; one difference, and nothing is proved.

    Args:
        executions: the graphs that a runtime executes for the file; a proof is one for all of them.
        data: what was evaluated, in the same order.
        found: the evaluation of the same file on the same data.
        search: how hard to look.
        batch_size: images at a time, where data brings no batches of its own.
        arrange: from images to the graphs' inputs, the same numbers in another order; as they are by
            default.
        journal: keeps each finished part, so that an interrupted search can go on.
        on_proof: called after each part with the `Standing` so far.

    Raises:
        InputError: the images do not fit the graphs.
        RuntimeError: a witness lies within a proved radius, which is a fault of harden's.
    """
    search, began = search or Search(), time.monotonic()
    x, y = _images(data, found, batch_size)
    x = x if arrange is None else arrange(x)
    levels = _Levels(executions, x, y, found, search, journal, on_proof)
    witnesses = found.witnesses.witness[:COMPARED]
    levels.compare(witnesses if arrange is None else arrange(witnesses))
    levels.run()
    seconds, apart = time.monotonic() - began, levels.disagreement
    low, left = (levels.low, levels.left()) if apart is None else (0 * levels.low, 0)
    proved = Proved(found, low, search, seconds, left, Compared.of(executions), apart)
    _check_agreement(proved)
    return proved


@final
class _Levels:
    """The bisection: `low` is proved, `high` is not."""

    def __init__(
        self,
        executions: Sequence[Execution],
        x: Tensor,
        y: Tensor,
        found: Evaluation,
        search: Search,
        journal: ProofJournal | None,
        on_proof: OnProof | None,
    ) -> None:
        self._executions, self._x, self._y, self._found = executions, x, y, found
        self._search, self._journal, self._on_proof = search, journal, on_proof
        self._began, self._done = time.monotonic(), 0
        self.disagreement: Disagreement | None = None
        top = 2**search.steps
        self.low = torch.zeros(len(y), dtype=torch.int64)
        self._high = torch.where(found.clean_correct, top + 1, 1)
        self._high = torch.where(found.robust_correct, self._high, self._high.clamp(max=top))

    def run(self) -> None:
        """Bisect until every image's radius is settled, or time is up."""
        top = 1 << self._search.steps
        if self.disagreement is not None:
            return
        if self._search.levels:
            self._rise(self._search.levels)
            return
        standing = self._found.robust_correct.nonzero().flatten()
        if not self._at(top, standing):
            return
        for _ in range(self._search.steps):
            middle = (self.low + self._high) // 2
            open_ = self._high - self.low > 1
            for level in sorted(set(middle[open_].tolist()), reverse=True):
                if not self._at(level, (open_ & (middle == level)).nonzero().flatten()):
                    return

    def _rise(self, levels: tuple[int, ...]) -> None:
        """Try each level on what was proved at the one before."""
        for before, level in pairwise((0, *levels)):
            open_ = (self.low == before) & (self._high > level)
            if not self._at(level, open_.nonzero().flatten()):
                return

    def left(self) -> int:
        """Standing images that were not tried at eps, or at the first level."""
        if self._search.levels:
            return int(((self._high > self._search.levels[0]) & (self.low == 0)).sum())
        top = 1 << self._search.steps
        return int(((self._high == top + 1) & (self.low < top)).sum())

    def _at(self, level: int, ids: Tensor) -> bool:
        """Try these images at a level; False where time was up before all were tried."""
        parts = list(_parts(ids, self._search.method.batch))
        for number, part in enumerate(parts):
            kept = None if self._journal is None else self._journal.read(level, part)
            if kept is None:
                if self._late():
                    return False
                kept = self._proved(level, part, len(parts) - number)
                if self.disagreement is not None:
                    return False
                # What a share of the time did not suffice for may be proved when there is more of it.
                if self._journal is not None and (not self._hurried or bool(kept.all())):
                    self._journal.write(level, part, kept)
            self.low[part[kept]] = level
            self._high[part[~kept]] = level
            self._tell()
        return True

    @property
    def _hurried(self) -> bool:
        """Whether a proof depends on the time that is left."""
        return self._search.method.branching is not None and self._search.minutes is not None

    def _proved(self, level: int, part: Tensor, shares: int) -> Tensor:
        """Which images of a part are proved, in one of so many equal shares of the time that is left."""
        threat = self._found.threat.scaled(Fraction(level, (1 << self._search.steps)))
        method = self._search.method
        if method.branching is not None and self._search.minutes is not None:
            left = 60 * self._search.minutes - (time.monotonic() - self._began)
            method = replace(method, branching=replace(method.branching, seconds=max(left, 0.0) / shares))
        programs = [each.program for each in self._executions]
        certified = certify(programs, self._x[part], self._y[part], threat, method).certified
        if bool(certified.any()):
            draws = torch.Generator().manual_seed(int(part[0]))
            self.compare(points_of(Region.around(self._x[part[certified]], threat), draws))
        return certified

    def compare(self, points: Tensor) -> None:
        """Hold the runtime against its graphs at some points; the first difference is kept."""
        if self.disagreement is None:
            self.disagreement = first_disagreement(self._executions, points)

    def _tell(self) -> None:
        if self._on_proof is None:
            return
        settled = int((self._high - self.low <= 1).sum())
        if self._search.levels:
            settled = int(((self._high <= self._search.tried[-1]) | (self.low > 0)).sum())
        share = float((self.low == (1 << self._search.steps)).double().mean())
        self._on_proof(Standing(settled, len(self._y), share, 0.0, time.monotonic() - self._began))

    def _late(self) -> bool:
        minutes = self._search.minutes
        return minutes is not None and time.monotonic() - self._began > 60 * minutes


def _check_agreement(proved: Proved) -> None:
    """Hold every witness against what was proved of its image: one within that radius can't be."""
    found = proved.found.witnesses
    if not len(found):
        return
    sizes = proved.found.threat.size(found.witness.double() - found.original.double())
    for index, size in zip(found.index.tolist(), sizes.tolist(), strict=True):
        radius = float(proved.radii_at(index))
        if size < radius * (1 - 2.0**-20):
            raise RuntimeError(
                f"image {index} is proved within {radius} and broken at {size}: a fault of harden's bounds"
            )


def _parts(ids: Tensor, size: int) -> Iterator[Tensor]:
    if len(ids):
        yield from torch.split(ids, size)


def _images(data: object, found: Evaluation, batch_size: int) -> tuple[Tensor, Tensor]:
    """The evaluated images, as the evaluation saw them."""
    images, labels = [], []
    for batch in from_loader(data, batch_size).epoch(None):
        images.append(batch.x.float().clamp(*found.threat.bounds).cpu())
        labels.append(batch.y.cpu())
        if sum(map(len, labels)) >= len(found.labels):
            break
    x, y = torch.cat(images)[: len(found.labels)], torch.cat(labels)[: len(found.labels)]
    if not torch.equal(y, found.labels.cpu()):
        raise InputError(
            "labels that the evaluation did not have", "the same data", "pass what was evaluated"
        )
    return x, y
