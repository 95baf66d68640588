"""Running totals of an evaluation over its batches, in 16 bytes of memory per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np

from harden.evaluation.attempt import Attempt
from harden.evaluation.probability_outputs import OutputKind
from harden.evaluation.results.batch_outcome import AttemptTotals, BatchOutcome, TrustCounts
from harden.evaluation.results.result import AttemptRecord, Evaluation, TrustCheck
from harden.evaluation.results.spooled_columns import SpooledColumn, SpooledWitnesses
from harden.evaluation.trust.attempt_comparison import comparison_checks, independent_attacks_add_nothing
from harden.evaluation.trust.gradient_checks import ball_and_box, gradients_are_finite, gradients_exist
from harden.statistics import Proportion
from harden.threats import Threat

_VERDICTS: Final = ("labels", "predictions", "broken_by", "broken_at")


@final
@dataclass(slots=True)
class EvaluationTotals:
    """Totals of an evaluation so far.

    Attributes:
        closed: whether the closing attempts were made, and are compared with the others.
        n: examples.
        unbroken: the number of them that are classified correctly and not broken.
        passes: spent on them.
        seconds: likewise.
    """

    closed: bool = True
    n: int = 0
    unbroken: int = 0
    passes: float = 0.0
    seconds: float = 0.0
    _verdicts: dict[str, SpooledColumn] = field(
        default_factory=lambda: {name: SpooledColumn(np.int32) for name in _VERDICTS}
    )
    _witnesses: SpooledWitnesses = field(default_factory=SpooledWitnesses)
    _signs: TrustCounts = field(default_factory=TrustCounts)
    _efforts: list[AttemptTotals] = field(default_factory=list)
    _checks: list[TrustCheck] = field(default_factory=list)

    def add(self, outcome: BatchOutcome) -> None:
        """Add a batch."""
        self.n, self.passes = self.n + len(outcome.labels), self.passes + outcome.passes
        self.seconds += outcome.seconds
        right = outcome.predictions == outcome.labels
        self.unbroken += int((right & (outcome.broken_by < 0)).sum())
        for name, column in self._verdicts.items():
            column.add(getattr(outcome, name))
        self._witnesses.add(outcome.found)
        self._signs.add(outcome.signs)
        self._efforts.extend(AttemptTotals() for _ in outcome.efforts[len(self._efforts) :])
        for effort, more in zip(self._efforts, outcome.efforts, strict=True):
            effort.add(more)
        self._checks.extend(outcome.checks)

    def result(
        self, threat: Threat, attempts: Sequence[Attempt], output: OutputKind, left: int
    ) -> Evaluation:
        """The evaluation of all batches added so far; `left` examples were not evaluated."""
        labels, predictions, by, at = (self._verdicts[name].tensor() for name in _VERDICTS)
        right, signs, efforts = int((predictions == labels).sum()), self._signs, self._efforts
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
                *(comparison_checks(attempts, by) if self.closed else ()),
                *((independent_attacks_add_nothing(attempts, efforts),) if self.closed else ()),
                *self._checks,
            ),
            witnesses=self._witnesses.witnesses(),
            passes=self.passes,
            seconds=self.seconds,
            broken_by=by,
            broken_at=at,
            output=output.value,
            left=left,
        )


def records(
    attempts: Sequence[Attempt], efforts: Sequence[AttemptTotals], right: int, n: int
) -> tuple[AttemptRecord, ...]:
    """A record of each attempt, on n examples of which `right` were unbroken before the first."""
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
