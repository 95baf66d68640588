"""Proofs for the images that attacks did not break; verdicts: certified, falsified or unknown."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden.bounds import Method, Proofs, certify
from harden.bounds.region import Region
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

__all__ = ["VERDICTS", "EvaluatedImages", "ProofResult", "RadiusSearch", "prove"]

VERDICTS = ("certified", "falsified", "unknown")
COMPARED = 256
"""Witnesses at which the runtime is compared with its graphs, the first ones."""
REGIONS, POINTS = 8, 32
"""Numbers of regions and of witnesses that are compared at a time, between two readings of the clock."""
WITNESS_SHARE = 0.05
"""Share of the time for comparing at witnesses; each proof is compared inside its own region in any case."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProofResult:
    """An evaluation, and for each of its images the largest radius at which a proof was found.

    Attributes:
        found: the evaluation, at the threat's eps.
        levels: proved radii in units of eps / 2^steps, int64 (n,); 0 where nothing was proved. A
            proof at a radius holds at every smaller one.
        search: parameters of the search.
        seconds: that it took.
        untried: unbroken images that were not tried at eps for lack of time.
        stopped: unbroken images whose search at eps the time limit ended.
        unsettled: images whose largest proved radius is not final for lack of time, these included.
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
        """Unbroken images without a finished search at eps."""
        return self.untried + self.stopped

    @property
    def complete(self) -> bool:
        """Return whether every image was attacked, and every search ended by itself."""
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
        """One of VERDICTS for each image; falsified: broken by an attack, or misclassified when clean."""
        falsified = ~self.found.robust_correct
        return [
            "certified" if proved else "falsified" if broken else "unknown"
            for proved, broken in zip(self.certified.tolist(), falsified.tolist(), strict=True)
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
    images: EvaluatedImages,
    search: RadiusSearch | None = None,
    *,
    journal: ProofJournal | None = None,
    on_proof: OnProof | None = None,
    device: torch.device | None = None,
) -> ProofResult:
    """Search for a proof at eps for each unbroken image, and for each image's largest certified radius.

    First all unbroken images at eps; then, by bisection, smaller radii for those that were not proved there.
    Images that are misclassified when clean have radius 0.

    Each proof is compared with the runtime inside its region before it counts (`runtime_agreement`), and so
    are the witnesses of attacks; after one difference nothing is proved.

    Args:
        executions: the graphs that a runtime executes for the file; a proof is one for all of them.
        images: the evaluated images with the evaluation of the same file.
        search: parameters of the search.
        journal: stores each finished part, so that an interrupted search can be resumed.
        on_proof: called after each part with the `EvaluationProgress` so far.
        device: of the programs' constants; the CPU by default.

    Raises:
        InputError: the images do not fit the graphs.
        RuntimeError: a witness lies within a proved radius, which is a defect of harden.
    """
    search, began = search or RadiusSearch(), time.monotonic()
    prover = _Prover(executions, device or torch.device("cpu"))
    levels = RadiusBisection(prover, images, search, journal, on_proof)
    low, left, apart = levels.low, (0, 0, 0), None
    try:
        until = math.inf if search.minutes is None else began + WITNESS_SHARE * 60 * search.minutes
        prover.compare_at(images.arranged(images.found.witnesses.witness[:COMPARED]), until)
        levels.run()
        low, left = levels.low, levels.left()
    except _DisagreementError as error:
        low, apart = torch.zeros_like(low), error.found
    compared = ComparedRuntime.of(executions)
    proved = ProofResult(images.found, low, search, time.monotonic() - began, *left, compared, apart)
    _check_agreement(proved)
    return proved


@final
class _DisagreementError(Exception):
    """The graph that was read and its execution differ: ends a search for proofs, none of which counts."""

    def __init__(self, found: Disagreement) -> None:
        super().__init__(str(found))
        self.found = found


@final
@dataclass(frozen=True, slots=True)
class _Prover:
    """Proofs on a device, with inputs and results on the CPU, compared with the runtime."""

    executions: Sequence[Execution]
    device: torch.device

    def __call__(
        self, x: Tensor, y: Tensor, threat: Threat, method: Method | None = None, *, until: float = math.inf
    ) -> Proofs:
        programs = [each.program for each in self.executions]
        with self.device:  # new tensors of the bounds are on it
            found = certify(programs, x.to(self.device), y.to(self.device), threat, method, until=until)
        candidates = {at: point.cpu() for at, point in found.candidates.items()}
        found = replace(found, margins=found.margins.cpu(), candidates=candidates)
        return found.without(self._not_compared(x, found.certified.nonzero().flatten(), threat, until))

    def _not_compared(self, x: Tensor, proved: Tensor, threat: Threat, until: float) -> Tensor:
        """Compare inside the regions of proved images, and return those that were not compared in time.

        The first ones are compared whatever the time, since bounds are computed for at least one image.
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
            _DisagreementError: an output leaves the bounds.
        """
        with self.device:
            found = first_disagreement(self.executions, points.to(self.device))
        if found is not None:
            raise _DisagreementError(found)


def _check_agreement(proved: ProofResult) -> None:
    """Check that no witness lies within the proved radius of its image."""
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
