"""The first epoch of a stage: a budget that ends before it trains on a part of the images, and is refused."""

from __future__ import annotations

from typing import Final, final

from harden.errors import InputError
from harden.training.stage import Stage, StepRecord

LEAST_SHARE: Final = 0.05
"""Of a budget in seconds, spent before its end is foretold."""
LEAST_STEPS: Final = 4
CLEARLY: Final = 0.5
"""Epochs: a budget in seconds that is foretold to reach fewer is refused at once, another one at its end."""


def too_small(stage: Stage, epochs: float) -> InputError:
    """What to say of a budget that pays for so many epochs, fewer than one."""
    return InputError(
        f"a budget of which {stage.name} gets {stage.budget}, which is {epochs:.2g} of an epoch",
        "at least one epoch to fine-tune in",
        f"write a budget {1 / max(epochs, 1e-9):.3g} times as large, or fewer steps in the training attack",
    )


@final
class FirstEpoch:
    """Follows a stage until its budget is known to reach an epoch, or not to.

    What a budget in seconds reaches depends on the machine. Of one in E `check_budget` judges by the first
    step alone, but where a validation fell into that: there too the end tells. A budget in epochs is what it
    is called.

    Args:
        stage: whose budget is looked at.
        images: that an epoch has.
    """

    def __init__(self, stage: Stage, images: int) -> None:
        # A last batch of one image is dropped.
        self._stage, self._images = stage, max(images - 1, 1)
        self._first: StepRecord | None = None

    def see(self, record: StepRecord) -> None:
        """Take in a step.

        Raises:
            InputError: at the pace so far a budget in seconds ends long before an epoch does.
        """
        self._first = self._first or record
        if self._stage.budget.unit != "s" or record.progress < LEAST_SHARE or record.step < LEAST_STEPS:
            return
        # Without the first step, which also loads and compiles.
        made = record.examples - self._first.examples
        spent = record.progress - self._first.progress
        if made > 0 and spent > 0:
            reached = record.examples + made * (1.0 - record.progress) / spent
            if reached < CLEARLY * self._images:
                raise too_small(self._stage, reached / self._images)

    def end(self, last: StepRecord | None) -> None:
        """Take in the end of the stage.

        Args:
            last: step of the stage, which an earlier process may have made; None for a stage without steps.

        Raises:
            InputError: it was reached before each image had been trained on once.
        """
        first, unit = self._first, self._stage.budget.unit
        judged = first is None or first.step > 1 or first.robust is None
        if last is None or unit == "epochs" or (unit == "E" and judged):
            return
        if last.examples < self._images:
            raise too_small(self._stage, last.examples / self._images)
