"""The end of a budget in seconds, which may come in the middle of a step or a validation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from harden.errors import InputError
from harden.evaluation.time_limit import OutOfTime
from harden.models.pass_count import interruptible
from harden.training.budget import Budget
from harden.training.stage import Stage


def until(budget: Budget, seconds: Callable[[], float]) -> AbstractContextManager[None]:
    """A context in which no forward begins once a budget in seconds is spent; of another unit, a plain one.

    Args:
        budget: of the stage.
        seconds: that are spent.

    Raises:
        OutOfTime: inside the context, where the budget is spent.
    """

    def check() -> None:
        if seconds() > budget.amount:
            raise OutOfTime

    return interruptible(check) if budget.unit == "s" else nullcontext()


def no_step(stage: Stage, images: int) -> InputError:
    """What to say of a budget in seconds that ended before the first step on so many images."""
    return InputError(
        f"a budget of which {stage.name} gets {stage.budget}, over before its first step was made",
        f"time for a step on {images} images",
        "give a larger budget, a smaller --batch-size, or fewer steps in the training attack",
    )
