"""Recipes: objectives, optimisers and shares of the budget, and the training stages that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from harden.description import JSON, describe
from harden.errors import InputError
from harden.objectives import TRADES, Objective
from harden.training import AdamW, Budget, Stage
from harden.training.optimisers import Optimiser


@final
@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe of hardening: an objective of pretraining, one of fine-tuning, and the shares of the budget.

    Args:
        finetune: the objective of the last stage; TRADES by default.
        pretrain: a contrastive objective for a stage before it; none by default.
        pretrain_share: share of the whole budget that pretraining may spend.
        optimiser: of fine-tuning.
        pretrain_optimiser: of pretraining.
        ramp: share of fine-tuning over which eps rises from 0.
        average: decay of the moving average of the weights, which is what is kept.
        validations: how often robust accuracy is measured while fine-tuning; 0 keeps the last weights.
        held_out: share of the training images that chooses the checkpoint and is never trained on.
        held_out_limit: about so many at most, since validation is paid for out of the budget.

    Raises:
        InputError: a share is outside (0, 1).
    """

    finetune: Objective = field(default_factory=TRADES)
    pretrain: Objective | None = None
    pretrain_share: float = 0.2
    optimiser: Optimiser = field(default_factory=AdamW)
    pretrain_optimiser: Optimiser = field(default_factory=AdamW)
    ramp: float = 0.3
    average: float = 0.99
    validations: int = 10
    held_out: float = 0.1
    held_out_limit: int = 512

    def __post_init__(self) -> None:
        for name in ("pretrain_share", "held_out"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise InputError(f"{name} {share}", "a share between 0 and 1", f"write {name}=0.1")


def stages(recipe: Recipe, budget: Budget) -> tuple[Stage, ...]:
    """The stages of a recipe under a budget."""
    last = Stage(
        "finetune",
        recipe.finetune,
        budget,
        optimiser=recipe.optimiser,
        ramp=recipe.ramp,
        average=recipe.average,
        validations=recipe.validations,
    )
    if recipe.pretrain is None:
        return (last,)
    first = Stage(
        "pretrain",
        recipe.pretrain,
        budget.part(recipe.pretrain_share),
        optimiser=recipe.pretrain_optimiser,
        ramp=recipe.ramp,
        average=0.0,
    )
    return first, last


def described(recipe: Recipe, budget: Budget) -> dict[str, JSON]:
    """A recipe and its budget as JSON."""
    fields = describe(recipe)
    if not isinstance(fields, dict):
        raise TypeError(f"a recipe describes itself as fields, not as {fields!r}")
    return {**fields, "budget": str(budget)}
