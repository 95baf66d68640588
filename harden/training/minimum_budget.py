"""The first epoch of a stage: a budget that ends before it trains on a part of the images, and is refused."""

from __future__ import annotations

from typing import Final, final

from harden.errors import InputError
from harden.training.stage import Stage, StepRecord

LEAST_SHARE: Final = 0.05
"""Of a budget in seconds, spent before its end is foretold."""
LEAST_STEPS: Final = 4
CLEARLY: Final = 0.5
"""Epochs: a budget that is foretold to reach fewer is refused at once, another one at its end."""
_FORWARD: Final = 1 / 3
"""Passes of a forward alone."""


def too_small(stage: Stage, epochs: float, validating: float = 0.0) -> InputError:
    """What to say of a budget that pays for so many epochs, fewer than one.

    Args:
        stage: whose budget it is.
        epochs: that it pays for.
        validating: E that validations took of it so far.
    """
    took = f" beside the {validating:.2g}E of validations" if validating else ""
    fewer = ", or fewer validations: Recipe(validations=1)" if validating else ""
    return InputError(
        f"a budget of which {stage.name} gets {stage.budget}, which is {epochs:.2g} of an epoch{took}",
        "at least one epoch to fine-tune in",
        f"write a budget {1 / max(epochs, 1e-9):.3g} times as large, "
        f"or fewer steps in the training attack{fewer}",
    )


def left_for_training(stage: Stage, images: int, held_out: int, step: float) -> float:
    """Bound from above the share of a budget in E that training gets beside its validations.

    A validation makes at least one forward for each held-out image, the share w of the budget. With steps of
    share s and V validations in all, two validations begin at most s + max(w, 1/V) apart. So they number at
    least 1 / (s + max(w, 1/V)), the last of which comes after the end of the budget; and the last step, too,
    may go beyond it. The bound 1 - w / (s + max(w, 1/V)) + w + s falls in w where it is below 1 + s, so that
    it holds for any larger cost of a validation.

    Args:
        stage: with its budget in E and its number of validations.
        images: that the E of the budget refer to.
        held_out: images of a validation; 0 for none.
        step: share of the budget that a step takes.
    """
    validation = _FORWARD * held_out / images / stage.budget.amount
    if stage.budget.unit != "E" or not validation or not stage.validations:
        return 1.0
    apart = step + max(validation, 1 / stage.validations)
    return min(1.0, 1.0 - validation / apart + validation + step)


@final
class FirstEpochCheck:
    """Follows a stage until its budget is known to reach an epoch, or not to.

    What a budget in seconds reaches depends on the machine, and what validations take of one in E on the
    network's robustness. Of the latter `check_budget` judges by the first step what is certain then. A budget
    in epochs is what it is called.

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
            InputError: at the pace so far the budget ends long before an epoch does, or what is left of one
                in E does not pay for the rest of the epoch.
        """
        self._first = self._first or record
        if self._stage.budget.unit == "epochs" or record.progress < LEAST_SHARE or record.step < LEAST_STEPS:
            return
        # Without the first step, which also loads and compiles.
        made = record.examples - self._first.examples
        spent = record.progress - self._first.progress
        if made > 0 and spent > 0:
            reached = record.examples + made * (1.0 - record.progress) / spent
            if reached < CLEARLY * self._images or max(reached, self._most(record)) < self._images:
                raise too_small(self._stage, reached / self._images, record.validating)

    def _most(self, record: StepRecord) -> float:
        """The most images that the rest of a budget in E can reach: with no validation in it."""
        training = record.passes - record.validating
        if self._stage.budget.unit != "E" or not training > 0:
            return float("inf")
        left = (1.0 - record.progress) * self._stage.budget.amount
        return record.examples * (1.0 + left / training)

    def end(self, last: StepRecord | None) -> None:
        """Take in the end of the stage.

        Args:
            last: step of the stage, which an earlier process may have made; None for a stage without steps.

        Raises:
            InputError: it was reached before each image had been trained on once.
        """
        if last is None or self._stage.budget.unit == "epochs":
            return
        if last.examples < self._images:
            raise too_small(self._stage, last.examples / self._images, last.validating)
