"""Certified radius of each image by bisection, within a time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Final, Protocol, final

import torch
from torch import Tensor

from harden.bounds import Method, Proofs
from harden.data import Source
from harden.errors import InputError
from harden.evaluation.progress import EvaluationProgress
from harden.evaluation.proofs.proof_journal import ProofJournal
from harden.evaluation.results.result import Evaluation
from harden.threats import Threat

OnProof = Callable[[EvaluationProgress], None]
TOP_SHARE: Final = 0.6
"""Share of the time for the first round, at eps itself, where smaller radii follow."""
PART_SHARE: Final = 8
"""A part of the images takes about one over this of the remaining time."""


class Certifier(Protocol):
    """`harden.bounds.certify` of one file."""

    def __call__(
        self, x: Tensor, y: Tensor, threat: Threat, method: Method | None = None, *, until: float = math.inf
    ) -> Proofs:
        """The proofs of images (N, ...) with labels (N,)."""
        ...


@final
@dataclass(frozen=True, slots=True)
class RadiusSearch:
    """Parameters of the search for certified radii.

    Args:
        method: of each proof.
        steps: of the bisection of each image's radius; radii are multiples of eps / 2^steps.
        minutes: time limit; the result is what is proved by then. None for no limit.
        levels: in place of the bisection, the radii to try, increasing, in units of eps / 2^steps; an image
            is tried at a radius if it was proved at the one before.

    Raises:
        InputError: steps out of 0..16, minutes that are not positive, or levels that do not increase from 1
            to 2^steps at most.
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
            raise InputError(seen, f"increasing ones from 1 to {1 << self.steps}", "write levels=(1, 2)")

    @property
    def tried(self) -> tuple[int, ...]:
        """The levels at which proofs are tried."""
        return self.levels or tuple(range(1, 1 + (1 << self.steps)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedImages:
    """The evaluated images with their evaluation; a pass over them loads one batch at a time.

    Args:
        source: of the evaluated images, in the same order.
        found: the evaluation.
        arrange: maps images to the file's inputs, the same numbers in another order; None for the identity.
    """

    source: Source
    found: Evaluation
    arrange: Callable[[Tensor], Tensor] | None = None

    def arranged(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in the layout of the file's input."""
        return x if self.arrange is None else self.arrange(x)

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Positions (N,), inputs (N, ...) in float32 and labels (N,), batch by batch.

        Raises:
            InputError: the labels are not those of the evaluation.
        """
        begin, labels = 0, self.found.labels.cpu()
        for batch in self.source.epoch(None):
            ids = torch.arange(begin, min(begin + len(batch), len(labels)))
            y = batch.y.cpu()[: len(ids)]
            if not torch.equal(y, labels[ids]):
                raise InputError(
                    "labels that differ from those of the evaluation",
                    "the same data",
                    "pass the evaluated data",
                )
            x = batch.x[: len(ids)].float().clamp(*self.found.threat.bounds).cpu()
            yield ids, self.arranged(x), y
            begin += len(ids)
            if begin == len(labels):
                return


@final
class RadiusBisection:
    """Bisection of each image's certified radius: `low` is proved, `high` is not.

    With a time limit, images are tried at eps first, then at smaller radii, each round with a share of the
    remaining time; images whose proof was interrupted are tried again as long as time is left. Parts are as
    many images as fit by the speed so far, beginning with one.

    Args:
        certify: proves some images.
        images: the evaluated ones.
        search: parameters of the search.
        journal: see `prove`.
        on_proof: likewise.
    """

    def __init__(
        self,
        certify: Certifier,
        images: EvaluatedImages,
        search: RadiusSearch,
        journal: ProofJournal | None = None,
        on_proof: OnProof | None = None,
    ) -> None:
        self._certify, self._images, self._search = certify, images, search
        self._journal, self._on_proof, self._began = journal, on_proof, time.monotonic()
        self._until = math.inf if search.minutes is None else self._began + 60 * search.minutes
        self._seconds_per_image: float | None = None
        self._size = 1
        found, self._top = images.found, 1 << search.steps
        self.low = torch.zeros(len(found.labels), dtype=torch.int64)
        self._high = torch.where(found.clean_correct, self._top + 1, 1)
        self._high = torch.where(found.robust_correct, self._high, self._high.clamp(max=self._top))
        self._stopped = torch.zeros_like(self.low, dtype=torch.bool)  # by the clock, at the first level

    def run(self) -> None:
        """Bisect until every image's radius is settled, or time is up."""
        if self._search.levels:
            for before, level in pairwise((0, *self._search.levels)):
                self._round(torch.where((self.low == before) & (self._high > level), level, 0), 1)
            return
        if self._timed:  # without branching first: a hard image would take the time of easy ones
            self._round(self._open_at_top(), 2, replace(self._search.method, branching=None))
        self._round(self._open_at_top(), 1 / TOP_SHARE if self._search.steps else 1)
        for step in range(self._search.steps):
            middle = (self.low + self._high) // 2
            self._round(torch.where(self._high - self.low > 1, middle, 0), 1 + self._search.steps - step)
        while bool(self._open_at_top().any()) and time.monotonic() < self._until:
            self._round(self._open_at_top(), 1)

    def left(self) -> tuple[int, int, int]:
        """Numbers of images not tried at the first level, interrupted there, and without a final radius."""
        first = self._search.levels[0] if self._search.levels else self._top
        open_ = (self._high > first) & (self.low < first)
        stopped = open_ & self._stopped
        return int((open_ & ~stopped).sum()), int(stopped.sum()), int((~self._settled()).sum())

    def _open_at_top(self) -> Tensor:
        """The level of eps for images that are open there, 0 for the others."""
        return torch.where((self._high > self._top) & (self.low < self._top), self._top, 0)

    def _round(self, target: Tensor, shares: float, method: Method | None = None) -> None:
        """Try each image at its level, 0 for none, in one pass over the data and a share of the time.

        With another method than that of the search, images that are not proved stay open.
        """
        until, left = self._until, int((target > 0).sum())
        if until < math.inf:
            now = time.monotonic()
            until = now + (until - now) / shares
        for ids, x, y in self._images.batches() if left else ():
            for level in sorted(set(target[ids].tolist()) - {0}, reverse=True):
                rows = (target[ids] == level).nonzero().flatten()
                while len(rows):
                    known = self._restore(level, ids[rows[: self._search.method.batch]])
                    part = rows[: known if known else self._part(until)]
                    if not known:
                        if time.monotonic() >= until:
                            return
                        end = until
                        if self._timed and method is None:  # an equal share for each image
                            now = time.monotonic()
                            end = now + (until - now) * len(part) / left
                        self._try(level, ids[part], (x[part], y[part]), end, method)
                    rows, left = rows[len(part) :], left - len(part)
                    self._report()

    def _restore(self, level: int, ids: Tensor) -> int:
        """Restore the results of the first of some images from the journal, and return their number."""
        kept = () if self._journal is None else self._journal.read(level, ids)
        for at, is_proved in zip(ids.tolist(), kept, strict=False):
            (self.low if is_proved else self._high)[at] = level
        return len(kept)

    def _part(self, until: float) -> int:
        """The number of images that are tried together."""
        batch = self._search.method.batch
        if until == math.inf:
            return batch
        if self._seconds_per_image is not None:
            fit = int((until - time.monotonic()) / (PART_SHARE * max(self._seconds_per_image, 1e-9)))
            self._size = max(1, min(fit, 2 * self._size, batch))
        return self._size

    def _try(
        self,
        level: int,
        ids: Tensor,
        part: tuple[Tensor, Tensor],
        until: float,
        method: Method | None,
    ) -> None:
        """Try to prove some images at a level."""
        began = time.monotonic()
        threat = self._images.found.threat.scaled(Fraction(level, self._top))
        proofs = self._certify(*part, threat, method or self._search.method, until=until)
        proved = proofs.certified.cpu()
        stopped = torch.full_like(proved, method is not None)
        stopped[list(proofs.stopped)] = True
        self.low[ids[proved]] = level
        self._high[ids[~proved & ~stopped]] = level
        if method is None and level == (self._search.levels[0] if self._search.levels else self._top):
            self._stopped[ids] = stopped
        self._seconds_per_image = (time.monotonic() - began) / len(ids)
        # Images that were not proved within their share of the time may be proved with more.
        settled = proved if self._timed else ~stopped
        if self._journal is not None and bool(settled.any()):
            self._journal.write(level, ids[settled], proved[settled])

    @property
    def _timed(self) -> bool:
        """Return whether a proof depends on the remaining time."""
        return self._search.method.branching is not None and self._search.minutes is not None

    def _settled(self) -> Tensor:
        """Images whose radius is final, bool (n,)."""
        if self._search.levels:
            last = self._search.levels[-1]
            tried = torch.tensor((0, *self._search.levels))
            following = tried[(torch.searchsorted(tried, self.low) + 1).clamp(max=len(tried) - 1)]
            return (self.low >= last) | (self._high <= following)
        return self._high - self.low <= 1

    def _report(self) -> None:
        if self._on_proof is None:
            return
        share = float((self.low == self._top).double().mean())
        done = int(self._settled().sum())
        self._on_proof(EvaluationProgress(done, len(self.low), share, 0.0, time.monotonic() - self._began))
