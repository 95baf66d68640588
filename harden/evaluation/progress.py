"""Progress of a measurement, for callers that display it while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class EvaluationProgress:
    """Progress of an evaluation, reported after every batch.

    Attributes:
        done: examples so far.
        total: examples in all.
        robust: share of the examples so far that are right and that no attempt broke.
        passes: passes spent so far.
        seconds: since the evaluation began.
    """

    done: int
    total: int
    robust: float
    passes: float
    seconds: float


@final
@dataclass(frozen=True, slots=True)
class Phase:
    """Progress of one phase of an export.

    Attributes:
        name: of the phase.
        done: units finished: examples, or the phase itself.
        total: units in all.
        robust: robust accuracy of the examples so far; None where nothing is attacked.
        passes: passes that the phase has spent so far.
        seconds: since the phase began.
    """

    name: str
    done: int
    total: int
    robust: float | None = None
    passes: float = 0.0
    seconds: float = 0.0

    @classmethod
    def of(cls, name: str, at: EvaluationProgress) -> Phase:
        """A phase with the progress of its evaluation."""
        return cls(name, at.done, at.total, at.robust, at.passes, at.seconds)
