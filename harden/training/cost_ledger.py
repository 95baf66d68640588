"""Ledger of a run's costs by stage, and the points of its history for the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, final

from harden.certificate.schema import HistoryPoint, StageRecord
from harden.description import describe
from harden.errors import InputError
from harden.training.budget import Budget, BudgetUse
from harden.training.stage import Stage, StepRecord

_HISTORY_POINTS = 100  # of each stage, in addition to those with a validation


@final
class CostLedger:
    """Sum of the stages' costs, with the points of the history that the page draws.

    Attributes:
        n: images that E refers to.
        spent: by the stages that were closed.
        stages: their records.
        history: points of all stages.
        rate: peak learning rate of fine-tuning that trials have found; None before them, and without.
    """

    def __init__(self, n: int) -> None:
        self.n, self.spent = n, BudgetUse()
        self.stages: list[StageRecord] = []
        self.history: list[HistoryPoint] = []
        self._last: StepRecord | None = None
        self._drawn = -1
        self.rate: float | None = None

    @property
    def last(self) -> StepRecord | None:
        """The last step of the open stage."""
        return self._last

    def within(self, stage: Stage, whole: Budget) -> Stage:
        """Return the stage with the remaining part of the whole budget."""
        left = 1.0 - whole.progress(self.spent, self.n)
        if left <= 0:
            raise InputError(
                f"a budget of {whole} that pretraining has used up",
                "a remaining part for fine-tuning",
                "give a larger budget or a smaller pretrain_share",
            )
        return replace(stage, budget=whole.part(left))

    def add(self, record: StepRecord) -> str | None:
        """Add a step; return its line where it becomes a point of the history, else None."""
        self._last = record
        point = int(record.progress * _HISTORY_POINTS)
        if record.robust is None and not record.event and point == self._drawn:
            return None
        self._drawn = point
        self.history.append(_point(record))
        return line_of(self.history[-1])

    def lines(self) -> list[str]:
        """The history so far, a JSON object a line."""
        return [line_of(point) for point in self.history]

    def close(self, stage: Stage) -> None:
        """Add the costs of the open stage, which ends."""
        record = self._last
        if record is None:
            return
        self._add_costs(stage, [record])
        self._last, self._drawn = None, -1

    def add_trials(self, stage: Stage, rate: float, records: Sequence[StepRecord]) -> None:
        """Add short runs of a stage, from the last step of each, and the learning rate that they found."""
        self.rate = rate
        self.history += [_point(record) for record in records]
        self._add_costs(stage, records)

    def _add_costs(self, stage: Stage, records: Sequence[StepRecord]) -> None:
        described, passes = describe(stage.objective), sum(record.passes for record in records)
        seconds = sum(record.seconds for record in records)
        self.stages.append(
            StageRecord(
                name=stage.name,
                objective=described if isinstance(described, dict) else {"kind": described},
                passes=passes * self.n,
                epochs_equivalent=passes,
                seconds=seconds,
            )
        )
        self.spent = BudgetUse(
            self.spent.passes + passes * self.n,
            self.spent.examples + sum(record.examples for record in records),
            self.spent.seconds + seconds,
        )

    def facts(self) -> dict[str, Any]:
        """Return the ledger as JSON."""
        return {
            "spent": asdict(self.spent),
            "stages": [stage.model_dump(mode="json") for stage in self.stages],
            "history": [point.model_dump(mode="json") for point in self.history],
            "last": None if self._last is None else asdict(self._last),
            "drawn": self._drawn,
            "rate": self.rate,
        }

    def restore(self, facts: dict[str, Any]) -> None:
        """Restore the ledger from `facts()`."""
        self.spent = BudgetUse(**facts["spent"])
        self.stages = [StageRecord.model_validate(stage) for stage in facts["stages"]]
        self.history = [HistoryPoint.model_validate(point) for point in facts["history"]]
        self._last = None if facts["last"] is None else StepRecord(**facts["last"])
        self._drawn = facts["drawn"]
        self.rate = facts.get("rate")


def _point(record: StepRecord) -> HistoryPoint:
    return HistoryPoint(
        stage=record.stage,
        step=record.step,
        passes=record.passes,
        seconds=round(record.seconds, 3),
        loss=record.loss,
        clean=record.clean,
        robust=record.robust,
        event=record.event,
    )


def line_of(point: HistoryPoint) -> str:
    """Return a point of the history as its line in history.jsonl."""
    return json.dumps(point.model_dump())
