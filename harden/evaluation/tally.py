"""Adds up an evaluation batch by batch, in memory that grows with the witnesses alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from harden.attacks import GradientMeter
from harden.data import Batch
from harden.evaluation.attempts import Attempt
from harden.evaluation.outcome import AttemptRecord, Evaluation, TrustCheck, Witnesses
from harden.evaluation.trust import ball_and_box, gradients_are_finite, gradients_exist
from harden.statistics import Proportion
from harden.threats import Threat


@final
@dataclass(slots=True)
class Effort:
    """What one attempt has done so far."""

    attempted: int = 0
    broken: int = 0
    passes: float = 0.0
    seconds: float = 0.0


@final
@dataclass(slots=True)
class Tally:
    """Counts, per-example bits and witnesses so far."""

    efforts: list[Effort]
    labels: list[Tensor] = field(default_factory=list)
    predictions: list[Tensor] = field(default_factory=list)
    broken: list[Tensor] = field(default_factory=list)
    witnesses: list[tuple[Tensor, ...]] = field(default_factory=list)
    outside: int = 0
    zero_gradients: int = 0
    gradients: GradientMeter = field(default_factory=GradientMeter)
    checks: tuple[TrustCheck, ...] = ()

    def add(self, batch: Batch, predictions: Tensor, broken: Tensor) -> None:
        """Add a batch's verdicts."""
        self.labels.append(batch.y.cpu())
        self.predictions.append(predictions.cpu())
        self.broken.append(broken.cpu())

    @property
    def standing(self) -> int:
        """How many examples so far are right and not broken."""
        columns = zip(self.labels, self.predictions, self.broken, strict=True)
        return sum(int(((predicted == label) & ~broken).sum()) for label, predicted, broken in columns)

    def add_witnesses(self, batch: Batch, hit: Tensor, prediction: Tensor, witness: Tensor) -> None:
        """Keep the witnesses found for the examples at `hit`, with what the judge called them."""
        parts = (batch.index[hit], batch.y[hit], prediction, batch.x[hit], witness)
        self.witnesses.append(tuple(part.cpu() for part in parts))

    def result(
        self, threat: Threat, attempts: Sequence[Attempt], passes: float, seconds: float
    ) -> Evaluation:
        """Sum up."""
        labels, predictions = torch.cat(self.labels), torch.cat(self.predictions)
        right = int((predictions == labels).sum())
        return Evaluation(
            threat=threat,
            labels=labels,
            predictions=predictions,
            broken=torch.cat(self.broken),
            attempts=self._records(attempts, right, len(labels)),
            checks=(
                ball_and_box(self.outside),
                gradients_exist(self.zero_gradients, right),
                gradients_are_finite(self.gradients),
                *self.checks,
            ),
            witnesses=self._witnesses(),
            passes=passes,
            seconds=seconds,
        )

    def joined(self, known: Evaluation, attempt: Attempt) -> Evaluation:
        """An evaluation with this tally's one attempt, at smaller eps, added as a further attempt."""
        effort = self.efforts[0]
        new = torch.cat([columns[0] for columns in self.witnesses]) if self.witnesses else known.labels[:0]
        broken = known.broken.clone()
        broken[new] = True
        standing = known.robust.count
        effort.attempted, effort.broken = standing, len(new)
        record = replace(
            self._records([attempt], standing, len(known.labels))[0], name=f"{attempt.name}, smaller eps"
        )
        old = known.witnesses
        self.witnesses.append((old.index, old.label, old.prediction, old.original, old.witness))
        return replace(
            known,
            broken=broken,
            attempts=(*known.attempts, record),
            witnesses=self._witnesses(),
            passes=known.passes + effort.passes,
            seconds=known.seconds + effort.seconds,
        )

    def _records(self, attempts: Sequence[Attempt], right: int, n: int) -> tuple[AttemptRecord, ...]:
        records = []
        for attempt, effort in zip(attempts, self.efforts, strict=True):
            right -= effort.broken
            records.append(
                AttemptRecord(
                    name=attempt.name,
                    spec=attempt.describe(),
                    attempted=effort.attempted,
                    broken=effort.broken,
                    robust=Proportion(right, n),
                    passes=effort.passes,
                    seconds=effort.seconds,
                )
            )
        return tuple(records)

    def _witnesses(self) -> Witnesses:
        columns = [torch.cat(column) for column in zip(*self.witnesses, strict=True)]
        order = columns[0].argsort()
        return Witnesses(*(column[order] for column in columns))
