"""Adds up an evaluation batch by batch, in memory that grows with the witnesses alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch

from harden.evaluation.attempts import Attempt
from harden.evaluation.findings import BatchOutcome, Effort, Found, Signs
from harden.evaluation.outcome import AttemptRecord, Evaluation, Witnesses
from harden.evaluation.outputs import Output
from harden.evaluation.rivals import compared, independent_attacks_add_nothing
from harden.evaluation.trust import ball_and_box, gradients_are_finite, gradients_exist
from harden.statistics import Proportion
from harden.threats import Threat


@final
@dataclass(slots=True)
class Tally:
    """Everything found so far, batch by batch.

    Attributes:
        closed: whether a single step and noise closed the attempts, and the checks on that are made.
        batches: what was found.
        n: examples.
        standing: how many of them are answered right and not broken.
        passes: spent on them.
        seconds: likewise.
    """

    closed: bool = True
    batches: list[BatchOutcome] = field(default_factory=list)
    n: int = 0
    standing: int = 0
    passes: float = 0.0
    seconds: float = 0.0

    def add(self, outcome: BatchOutcome) -> None:
        """Add a batch."""
        self.batches.append(outcome)
        self.n, self.passes = self.n + len(outcome.labels), self.passes + outcome.passes
        self.seconds += outcome.seconds
        right = outcome.predictions == outcome.labels
        self.standing += int((right & (outcome.broken_by < 0)).sum())

    def result(self, threat: Threat, attempts: Sequence[Attempt], output: Output, left: int) -> Evaluation:
        """Sum up."""
        labels, predictions, by, at = (
            torch.cat([getattr(batch, name) for batch in self.batches])
            for name in ("labels", "predictions", "broken_by", "broken_at")
        )
        right, signs = int((predictions == labels).sum()), Signs()
        efforts = [Effort() for _ in attempts]
        for batch in self.batches:
            signs.add(batch.signs)
            for effort, more in zip(efforts, batch.efforts, strict=True):
                effort.add(more)
        return Evaluation(
            threat=threat,
            labels=labels,
            predictions=predictions,
            broken=by >= 0,
            attempts=records(attempts, efforts, right, len(labels)),
            checks=(
                ball_and_box(signs.outside),
                gradients_exist(signs.zero_gradients, right),
                gradients_are_finite(signs.not_finite, signs.gradients),
                *(compared(attempts, by) if self.closed else ()),
                *((independent_attacks_add_nothing(attempts, efforts),) if self.closed else ()),
                *(check for batch in self.batches for check in batch.checks),
            ),
            witnesses=joined([found for batch in self.batches for found in batch.found]),
            passes=self.passes,
            seconds=self.seconds,
            broken_by=by,
            broken_at=at,
            output=output.value,
            left=left,
        )


def records(
    attempts: Sequence[Attempt], efforts: Sequence[Effort], right: int, n: int
) -> tuple[AttemptRecord, ...]:
    """What each attempt did, of n examples of which so many were right before the first."""
    found = []
    for attempt, effort in zip(attempts, efforts, strict=True):
        right -= effort.broken
        found.append(
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
    return tuple(found)


def joined(found: Sequence[Found]) -> Witnesses:
    """All witnesses, by position."""
    names = ("index", "label", "prediction", "original", "witness")
    columns = [torch.cat([getattr(one, name) for one in found]) for name in names]
    order = columns[0].argsort()
    return Witnesses(*(column[order] for column in columns))
