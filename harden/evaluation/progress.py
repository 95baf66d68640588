"""How far a measurement has come: what a caller may show while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class EvaluationProgress:
    """An evaluation so far, told after every batch.

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
    """A phase of an export so far.

    Attributes:
        name: what is being done.
        done: of the phase's units: examples, or the phase itself.
        total: how many there are.
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
        """The phase whose evaluation stands at `at`."""
        return cls(name, at.done, at.total, at.robust, at.passes, at.seconds)
