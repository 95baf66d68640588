"""Recipes: objectives, optimisers and shares of the budget, and the training stages that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from harden.description import JSON, describe_fields
from harden.errors import InputError
from harden.hardening.rate_probe import RateProbe
from harden.objectives import AdversarialTraining, Objective
from harden.training import AdamW, Budget, OneCycle, Stage
from harden.training.guards.guard_options import Guards
from harden.training.optimisers import Optimiser
from harden.training.schedules import Schedule
from harden.training.stage import check_numbers
from harden.training.weights.weight_averaging import Averaging


@final
@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe of hardening: an objective of pretraining, one of fine-tuning, and the shares of the budget.

    Args:
        finetune: the objective of the last stage; adversarial training with two steps of PGD by default.
        pretrain: the objective of a stage before it, contrastive or `LinearProbe`; none by default.
        pretrain_share: share of the whole budget that pretraining may spend.
        optimiser: of fine-tuning; None for the one that suits objective and network
            (`harden.hardening.recipe_defaults`).
        rate_probe: short trials that choose the peak learning rate of fine-tuning; None for the optimiser's.
        pretrain_optimiser: of pretraining.
        schedule: of the learning rate, in every stage.
        ramp: share of fine-tuning over which eps rises from 0.
        average: decay of the moving average of the weights, which is what is kept, or
            `harden.training.TailAverage(start)` for their mean over the last part of fine-tuning; 0 for none.
        clip: the gradient's largest length.
        guards: against a loss that is not finite and catastrophic overfitting, in every stage.
        bfloat16: whether the passes of `Standard`, of the adversarial objectives and of `SimCLR` compute in
            bfloat16, where the network can; weights, their gradients, perturbations and every evaluation stay
            float32. None for where the device multiplies bfloat16 in hardware.
        validations: how often robust accuracy is measured while fine-tuning, at most; 0 keeps the last
            weights.
        validation_share: of the passes of fine-tuning that validations may take, the last one excepted.
        max_clean_drop: largest loss of clean accuracy, on the held-out images, that the kept weights may have
            against the network before hardening, in [0, 1); None for any. Weights between those before and
            the last ones are candidates too. Where none are within the limit and more robust, the network
            stays as it was, and `Hardened.unmet` says why.
        held_out: share of the training images that chooses the checkpoint and is never trained on.
        held_out_limit: about so many at most, since validation is paid for out of the budget.

    Raises:
        InputError: a share or a number is out of its range.
    """

    finetune: Objective = field(default_factory=AdversarialTraining)
    pretrain: Objective | None = None
    pretrain_share: float = 0.2
    optimiser: Optimiser | None = None
    rate_probe: RateProbe | None = None
    pretrain_optimiser: Optimiser = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=OneCycle)
    ramp: float = 0.5
    average: Averaging = 0.99
    clip: float = 5.0
    guards: Guards = field(default_factory=Guards)
    bfloat16: bool | None = False
    validations: int = 5
    validation_share: float = 0.05
    max_clean_drop: float | None = None
    held_out: float = 0.1
    held_out_limit: int = 512

    def __post_init__(self) -> None:
        for name in ("pretrain_share", "held_out"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise InputError(f"{name} {share}", "a share between 0 and 1", f"write {name}=0.1")
        if not 0 < self.validation_share <= 1:
            seen = f"validation_share {self.validation_share}"
            raise InputError(seen, "a share in (0, 1]; 1 for no limit", "write validation_share=0.05")
        check_numbers(self.ramp, self.average, self.clip, self.validations)
        if self.max_clean_drop is not None:
            self._check_drop(self.max_clean_drop)
        if self.held_out_limit < 1:
            seen = f"held_out_limit {self.held_out_limit}"
            raise InputError(seen, "one image or more", "write held_out_limit=512")

    def _check_drop(self, drop: float) -> None:
        if not 0 <= drop < 1:
            seen = f"max_clean_drop {drop}"
            raise InputError(seen, "a share in [0, 1)", "write max_clean_drop=0.02")
        if not self.validations:
            raise InputError(
                f"max_clean_drop {drop} without validations",
                "validations, which measure clean accuracy",
                "write validations=5, or leave max_clean_drop out",
            )


def stages(recipe: Recipe, budget: Budget) -> tuple[Stage, ...]:
    """The stages of a recipe under a budget.

    Raises:
        ValueError: its optimiser is None, which `harden.hardening.recipe_defaults.with_defaults` replaces.
    """
    if recipe.optimiser is None:
        raise ValueError("a recipe without an optimiser has no stages yet")
    last = Stage(
        "finetune",
        recipe.finetune,
        budget,
        optimiser=recipe.optimiser,
        schedule=recipe.schedule,
        ramp=recipe.ramp,
        average=recipe.average,
        clip=recipe.clip,
        guards=recipe.guards,
        bfloat16=bool(recipe.bfloat16),
        validations=recipe.validations,
        validation_share=recipe.validation_share,
    )
    if recipe.pretrain is None:
        return (last,)
    first = Stage(
        "pretrain",
        recipe.pretrain,
        budget.part(recipe.pretrain_share),
        optimiser=recipe.pretrain_optimiser,
        schedule=recipe.schedule,
        ramp=recipe.ramp,
        average=0.0,
        clip=recipe.clip,
        guards=recipe.guards,
        bfloat16=bool(recipe.bfloat16),
    )
    return first, last


def described(recipe: Recipe, budget: Budget) -> dict[str, JSON]:
    """A recipe and its budget as JSON."""
    return {**describe_fields(recipe), "budget": str(budget)}
