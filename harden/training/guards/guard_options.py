"""Options of the guards of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class Guards:
    """How often training may return to earlier weights, and how often it is checked for overfitting.

    Where the loss or its gradient is NaN or infinite, training returns to the last good weights and halves
    its learning rate. Where the network resists the attack of training and no stronger one (catastrophic
    overfitting), it returns to them and attacks with more steps. Each event is in the history.

    Args:
        rollbacks: returns to earlier weights in a stage, at most; 0 for none and no checks, so that a loss
            that is not finite ends the run.
        checks: how often weights are kept, and checked for catastrophic overfitting; 0 for no checks.
        share: of the passes of the stage so far that these checks may have taken.

    Raises:
        InputError: a count is negative, or the share outside [0, 1].
    """

    rollbacks: int = 4
    checks: int = 20
    share: float = 0.02

    def __post_init__(self) -> None:
        if self.rollbacks < 0 or self.checks < 0:
            seen = f"{self.rollbacks} roll-backs and {self.checks} checks"
            raise InputError(seen, "counts of 0 or more", "write Guards(rollbacks=4, checks=20)")
        if not 0 <= self.share <= 1:
            seen = f"a share of {self.share} for checks"
            raise InputError(seen, "a share in [0, 1]", "write Guards(share=0.02)")
