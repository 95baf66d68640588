"""Deadline of a budget in seconds, which may end inside a step or a validation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from harden.errors import InputError
from harden.evaluation.time_limit import OutOfTime
from harden.models.pass_count import interruptible
from harden.training.budget import Budget
from harden.training.stage import Stage


def until(budget: Budget, seconds: Callable[[], float]) -> AbstractContextManager[None]:
    """Return a context in which no forward begins after a budget in seconds is spent.

    For a budget in another unit the context has no effect.

    Args:
        budget: budget of the stage.
        seconds: returns the seconds that are spent.

    Raises:
        OutOfTime: inside the context, where the budget is spent.
    """

    def check() -> None:
        if seconds() > budget.amount:
            raise OutOfTime

    return interruptible(check) if budget.unit == "s" else nullcontext()


def no_step(stage: Stage, images: int) -> InputError:
    """Make the error for a budget in seconds that ended before the first step, on `images` images."""
    return InputError(
        f"a budget of which {stage.name} gets {stage.budget}, over before its first step was made",
        f"time for a step on {images} images",
        "give a larger budget, a smaller --batch-size, or fewer steps in the training attack",
    )
