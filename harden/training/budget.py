"""Compute budget of a run in passes, epochs or seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, final

from harden.errors import InputError

Unit = Literal["E", "epochs", "s"]

_FORM = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(E|epochs?|s|sec|min|h)\s*")
_SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}


@final
@dataclass(frozen=True, slots=True)
class BudgetUse:
    """Compute that was spent so far.

    Attributes:
        passes: forward and backward of the network on one image, attacks and validation included.
        examples: images that went through the optimiser.
        seconds: wall-clock time.
    """

    passes: float = 0.0
    examples: int = 0
    seconds: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Budget:
    """An amount of compute.

    Args:
        amount: amount in the unit.
        unit: "E" (passes / training-set size), "epochs", or "s" (seconds; the run then depends on the
            machine's speed, and the same seed does not give the same bytes).
    """

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        if not 0 < self.amount < float("inf"):
            raise InputError(
                f"a budget of {self.amount}", "a positive amount", 'write "10min", "300E" or "3epochs"'
            )

    @classmethod
    def parse(cls, text: str | Budget) -> Budget:
        """Parse "10min", "90s", "2h", "300E" or "3epochs".

        Raises:
            InputError: the text has another form.
        """
        if isinstance(text, Budget):
            return text
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InputError(f"budget {text!r}", "an amount and a unit", 'write "10min", "300E" or "3epochs"')
        amount, unit = float(match[1]), match[2]
        if unit == "E":
            return cls(amount, "E")
        if unit.startswith("epoch"):
            return cls(amount, "epochs")
        return cls(amount * _SECONDS[unit], "s")

    def part(self, share: float) -> Budget:
        """Return a share of the budget, in (0, 1]."""
        return Budget(self.amount * share, self.unit)

    def progress(self, spent: BudgetUse, n: int) -> float:
        """Return the share that is spent, in [0, 1], in training on n images."""
        used = {"E": spent.passes / n, "epochs": spent.examples / n, "s": spent.seconds}[self.unit]
        # Sums of thirds and ratios round: a budget that is met but for 1e-9 of it is met.
        share = used / self.amount
        return 1.0 if share >= 1.0 - 1e-9 else share

    @property
    def deterministic(self) -> bool:
        """Return whether the same seed gives the same run on any machine of the same arithmetic."""
        return self.unit != "s"

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit}"
