"""Recipes: shares that are refused, and the stages that follow from a recipe and a budget."""

from __future__ import annotations

import json

import pytest

from harden.errors import InputError
from harden.hardening import Recipe
from harden.hardening.recipes.recipe import described, stages
from harden.objectives import TRADES, SimCLR, Standard
from harden.training import AdamW, Budget


@pytest.mark.parametrize("name", ["pretrain_share", "held_out"])
@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_recipe_refuses_shares_that_are_none(name: str, share: float) -> None:
    with pytest.raises(InputError, match=name):
        Recipe(**{name: share})  # type: ignore[arg-type]


def test_without_pretraining_the_whole_budget_is_for_one_stage() -> None:
    recipe = Recipe(Standard(), optimiser=AdamW(0.5), ramp=0.7, average=0.25, validations=3)
    (stage,) = stages(recipe, Budget(12, "E"))
    assert (stage.name, stage.objective, stage.budget) == ("finetune", Standard(), Budget(12, "E"))
    assert (stage.optimiser, stage.ramp, stage.average, stage.validations) == (AdamW(0.5), 0.7, 0.25, 3)


@pytest.mark.parametrize("unit", ["E", "s", "epochs"])
def test_pretraining_gets_its_share_and_no_average(unit: str) -> None:
    budget = Budget(12, unit)  # type: ignore[arg-type]
    recipe = Recipe(pretrain=SimCLR(), pretrain_share=0.25, optimiser=AdamW(), pretrain_optimiser=AdamW(0.5))
    first, last = stages(recipe, budget)
    assert (first.name, first.budget.unit) == ("pretrain", unit)
    assert first.budget.amount == pytest.approx(3)
    assert (first.optimiser, first.average) == (AdamW(0.5), 0.0)
    # What pretraining leaves of the budget is known when it has ended.
    assert (last.name, last.budget, last.optimiser) == ("finetune", budget, AdamW())


def test_a_description_is_json_of_every_field_and_the_budget() -> None:
    found = described(Recipe(TRADES(beta=4.0)), Budget.parse("10min"))
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"kind", "budget", *Recipe.__slots__}
    assert found["budget"] == "600s"
    assert found["pretrain"] is None
