"""Outcome of one batch of an evaluation: verdicts, witnesses and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from harden.evaluation.results.result import TrustCheck


@final
@dataclass(slots=True)
class AttemptTotals:
    """Counts and costs of one attempt so far."""

    attempted: int = 0
    broken: int = 0
    passes: float = 0.0
    seconds: float = 0.0

    def add(self, other: AttemptTotals) -> None:
        """Add the totals of the attempt on other examples."""
        self.attempted += other.attempted
        self.broken += other.broken
        self.passes += other.passes
        self.seconds += other.seconds


@final
@dataclass(frozen=True, slots=True, eq=False)
class BatchWitnesses:
    """Witnesses of a batch, with their positions and the judge's classes.

    Attributes:
        index: position in the evaluated set, int64 (M,).
        label: int64 (M,).
        prediction: int64 (M,).
        original: clean images (M, C, H, W), float32.
        witness: images (M, C, H, W), float32.
    """

    index: Tensor
    label: Tensor
    prediction: Tensor
    original: Tensor
    witness: Tensor


@final
@dataclass(slots=True)
class TrustCounts:
    """Counts from which trust checks are computed.

    Attributes:
        outside: results outside ball or box after projection.
        zero_gradients: correctly classified images whose margin has no usable gradient.
        gradients: of the attacks, one for each image and step.
        not_finite: the number of these that contain NaN or an infinity.
    """

    outside: int = 0
    zero_gradients: int = 0
    gradients: int = 0
    not_finite: int = 0

    def add(self, other: TrustCounts) -> None:
        """Add the counts of another batch."""
        self.outside += other.outside
        self.zero_gradients += other.zero_gradients
        self.gradients += other.gradients
        self.not_finite += other.not_finite


@final
@dataclass(frozen=True, slots=True, eq=False)
class BatchOutcome:
    """Verdicts and costs of one batch, on the CPU.

    Attributes:
        labels: int64 (n,).
        predictions: the judge's classes of the clean images, int64 (n,).
        broken_by: position of the attempt that broke each, int64 (n,); -1 where none did.
        broken_at: the step or query in which it did; 0 where the attack does not report it, int64 (n,).
        found: the witnesses.
        efforts: totals of each attempt.
        signs: for the trust checks.
        passes: passes spent in all.
        seconds: time taken in all.
        checks: trust checks that were made on this batch, the first one.
    """

    labels: Tensor
    predictions: Tensor
    broken_by: Tensor
    broken_at: Tensor
    found: tuple[BatchWitnesses, ...]
    efforts: tuple[AttemptTotals, ...]
    signs: TrustCounts
    passes: float
    seconds: float
    checks: tuple[TrustCheck, ...] = ()
