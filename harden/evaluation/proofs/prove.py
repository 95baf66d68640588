"""What is proved of each image, beside what attacks have broken: certified, falsified or unknown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden.bounds import Method, Proofs, certify
from harden.bounds.region import Region
from harden.data import from_loader
from harden.evaluation.proofs.proof_journal import ProofJournal
from harden.evaluation.proofs.runtime_agreement import (
    ComparedRuntime,
    Disagreement,
    Execution,
    first_disagreement,
    points_of,
)
from harden.evaluation.results.result import Evaluation
from harden.evaluation.sweeps.certified_radii import EvaluatedImages, OnProof, RadiusBisection, RadiusSearch
from harden.statistics import Proportion
from harden.threats import Threat

__all__ = ["VERDICTS", "ProofResult", "RadiusSearch", "prove"]

VERDICTS = ("certified", "falsified", "unknown")
COMPARED = 256
"""Witnesses at which the runtime is compared with its graphs, the first ones."""
REGIONS, POINTS = 8, 32
"""So many regions, or witnesses, are compared at a time, between two looks at the clock."""
WITNESS_SHARE = 0.05
"""Of the time, for comparing at witnesses: each proof is compared inside its own region all the same."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProofResult:
    """An evaluation, and for each of its images the largest radius at which a proof was found.

    Attributes:
        found: the evaluation: what attacks broke at the threat's eps.
        levels: proved radii in units of eps / 2^steps, int64 (n,); 0 where nothing was proved. What is
            proved at a radius holds at every smaller one: its ball lies within.
        search: how proofs were looked for.
        seconds: what it took.
        untried: images that no attack broke, and that time did not suffice to try at eps.
        stopped: such images whose search at eps was begun and ended by the clock.
        unsettled: images whose largest proved radius is not known for lack of time, these included.
        compared: the runtime whose executions were compared with the proofs.
        disagreement: where a runtime left the bounds of the graph that it executes: then nothing is proved.
    """

    found: Evaluation
    levels: Tensor
    search: RadiusSearch
    seconds: float
    untried: int = 0
    stopped: int = 0
    unsettled: int = 0
    compared: ComparedRuntime = field(default_factory=lambda: ComparedRuntime("", (), 0))
    disagreement: Disagreement | None = None

    @property
    def left(self) -> int:
        """Images that no attack broke and that time did not suffice for at eps."""
        return self.untried + self.stopped

    @property
    def complete(self) -> bool:
        """Whether every image was attacked, and every search ended by itself."""
        return self.found.complete and not self.unsettled

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
    search: RadiusSearch | None = None,
    *,
    batch_size: int = 256,
    arrange: Callable[[Tensor], Tensor] | None = None,
    journal: ProofJournal | None = None,
    on_proof: OnProof | None = None,
    device: torch.device | None = None,
) -> ProofResult:
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
        on_proof: called after each part with the `EvaluationProgress` so far.
        device: that the programs' constants are on; the CPU by default.

    Raises:
        InputError: the images do not fit the graphs.
        RuntimeError: a witness lies within a proved radius, which is a fault of harden's.
    """
    search, began = search or RadiusSearch(), time.monotonic()
    images = EvaluatedImages(from_loader(data, batch_size), found, arrange)
    prover = _Prover(executions, device or torch.device("cpu"))
    levels = RadiusBisection(prover, images, search, journal, on_proof)
    low, left, apart = levels.low, (0, 0, 0), None
    try:
        until = math.inf if search.minutes is None else began + WITNESS_SHARE * 60 * search.minutes
        prover.compare_at(images.arranged(found.witnesses.witness[:COMPARED]), until)
        levels.run()
        low, left = levels.low, levels.left()
    except _DisagreementError as error:
        low, apart = torch.zeros_like(low), error.found
    compared = ComparedRuntime.of(executions)
    proved = ProofResult(found, low, search, time.monotonic() - began, *left, compared, apart)
    _check_agreement(proved)
    return proved


@final
class _DisagreementError(Exception):
    """What is read and what is executed differ: ends a search for proofs, none of which counts."""

    def __init__(self, found: Disagreement) -> None:
        super().__init__(str(found))
        self.found = found


@final
@dataclass(frozen=True, slots=True)
class _Prover:
    """Proofs on a device, of images that come and answers that go on the CPU, compared with the runtime."""

    executions: Sequence[Execution]
    device: torch.device

    def __call__(
        self, x: Tensor, y: Tensor, threat: Threat, method: Method | None = None, *, until: float = math.inf
    ) -> Proofs:
        programs = [each.program for each in self.executions]
        with self.device:  # where all that bounds make lies
            found = certify(programs, x.to(self.device), y.to(self.device), threat, method, until=until)
        candidates = {at: point.cpu() for at, point in found.candidates.items()}
        found = replace(found, margins=found.margins.cpu(), candidates=candidates)
        return found.without(self._not_compared(x, found.certified.nonzero().flatten(), threat, until))

    def _not_compared(self, x: Tensor, proved: Tensor, threat: Threat, until: float) -> Tensor:
        """Compare inside the regions of proved images, and give those for which time did not suffice.

        The first ones are compared whatever the time, as bounds are tried of one image at least.
        """
        generator = torch.Generator().manual_seed(len(x))
        for begin in range(0, len(proved), REGIONS):
            if begin and time.monotonic() >= until:
                return proved[begin:]
            self.compare(points_of(Region.around(x[proved[begin : begin + REGIONS]], threat), generator))
        return proved[:0]

    def compare_at(self, points: Tensor, until: float) -> None:
        """Compare at some inputs, the first of them whatever the time, then until time is up."""
        for begin in range(0, len(points), POINTS):
            if begin and time.monotonic() >= until:
                return
            self.compare(points[begin : begin + POINTS])

    def compare(self, points: Tensor) -> None:
        """Compare the runtime with its graphs at some inputs.

        Raises:
            _DisagreementError: it is not where they are.
        """
        with self.device:
            found = first_disagreement(self.executions, points.to(self.device))
        if found is not None:
            raise _DisagreementError(found)


def _check_agreement(proved: ProofResult) -> None:
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
