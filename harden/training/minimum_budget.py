"""Check that a stage's budget reaches one epoch; a smaller one would train on a part of the images."""

from __future__ import annotations

from typing import Final, final

from harden.errors import InputError
from harden.objectives.objective import replays_of
from harden.training.stage import Stage, StepRecord

LEAST_SHARE: Final = 0.05
"""Share of a budget in seconds that is spent before its end is predicted."""
LEAST_STEPS: Final = 4
CLEARLY: Final = 0.5
"""Epochs: a budget that is predicted to reach fewer is refused at once, another one at its end."""
_FORWARD: Final = 1 / 3
"""Passes of a forward alone."""


def too_small(stage: Stage, epochs: float, validating: float = 0.0) -> InputError:
    """Make the error for a budget that pays for less than one epoch.

    Args:
        stage: the stage with this budget.
        epochs: epochs that the budget pays for.
        validating: E that validations took of it so far.
    """
    took = f" in addition to the {validating:.2g}E of validations" if validating else ""
    fewer = ", or fewer validations: Recipe(validations=1)" if validating else ""
    cheaper = "fewer replays" if replays_of(stage.objective) > 1 else "fewer steps in the training attack"
    return InputError(
        f"a budget of which {stage.name} gets {stage.budget}, which is {epochs:.2g} of an epoch{took}",
        "at least one epoch to fine-tune in",
        f"write a budget {1 / max(epochs, 1e-9):.3g} times as large, or {cheaper}{fewer}",
    )


def left_for_training(stage: Stage, images: int, held_out: int, step: float) -> float:
    """Bound from above the share of a budget in E that is left for training after validations.

    A validation makes at least one forward for each held-out image, the share w of the budget. With steps of
    share s and V validations in all, two validations begin at most s + max(w, 1/V) apart. So they number at
    least 1 / (s + max(w, 1/V)), the last of which comes after the end of the budget; and the last step, too,
    may go beyond it. The bound 1 - w / (s + max(w, 1/V)) + w + s falls in w where it is below 1 + s, so that
    it holds for any larger cost of a validation. Where the share of validations is limited, none but the last
    is certain.

    Args:
        stage: stage with a budget in E and its number of validations.
        images: number of images that the E of the budget refer to.
        held_out: images of a validation; 0 for none.
        step: share of the budget that a step takes.
    """
    validation = _FORWARD * held_out / images / stage.budget.amount
    if stage.budget.unit != "E" or not validation or not stage.validations or stage.validation_share < 1:
        return 1.0
    apart = step + max(validation, 1 / stage.validations)
    return min(1.0, 1.0 - validation / apart + validation + step)


@final
class FirstEpochCheck:
    """Check during a stage that its budget reaches one epoch.

    The number of epochs in a budget in seconds depends on the machine, and the cost of validations in one in
    E on the network's robustness; `check_budget` refuses after the first step what is certain then. A budget
    in epochs needs no check.

    Args:
        stage: the stage with its budget.
        images: number of images of an epoch.
    """

    def __init__(self, stage: Stage, images: int) -> None:
        # A last batch of one image is dropped.
        self._stage, self._images = stage, max(images - 1, 1) * replays_of(stage.objective)
        self._first: StepRecord | None = None

    def add(self, record: StepRecord) -> None:
        """Check the budget after a step.

        Raises:
            InputError: at the speed so far the budget ends long before an epoch does, or the rest of one in E
                does not pay for the rest of the epoch.
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
        """The largest number of images that a budget in E can reach, without further validations."""
        training = record.passes - record.validating
        if self._stage.budget.unit != "E" or not training > 0:
            return float("inf")
        left = (1.0 - record.progress) * self._stage.budget.amount
        return record.examples * (1.0 + left / training)

    def end(self, last: StepRecord | None) -> None:
        """Check the budget at the end of the stage.

        Args:
            last: last step of the stage, which an earlier process may have made; None for a stage without
                steps.

        Raises:
            InputError: the stage ended before each image was trained on once.
        """
        if last is None or self._stage.budget.unit == "epochs":
            return
        if last.examples < self._images:
            raise too_small(self._stage, last.examples / self._images, last.validating)
