"""Optimiser and number format of fine-tuning where a recipe leaves them open."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import harden
from harden.hardening.recipe import Recipe, stages
from harden.hardening.recipe_defaults import default_optimiser, with_defaults
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import (
    AWP,
    IBP,
    LIET,
    MART,
    NFGSM,
    SABR,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    LinearProbe,
    MultiNorm,
    Objective,
    PriorGuidedFGSM,
    Standard,
)
from harden.training import SGD, AdamW, Budget
from harden.training.optimisers import Optimiser


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 10))


@pytest.mark.parametrize(
    "objective",
    [
        AdversarialTraining(),
        TRADES(),
        MART(),
        AWP(TRADES()),
        NFGSM(),
        PriorGuidedFGSM(),
        LIET(),
        FreeAdversarialTraining(),
        GaussianAugmentation(),
        AWP(MultiNorm(TRADES(), (harden.L2("1/2"),))),
        Standard(),
    ],
)
def test_sgd_where_batchnorm_follows_the_convolutions(objective: Objective) -> None:
    assert default_optimiser(objective, Classifier(small_cnn())) == SGD(0.15)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.Conv2d(1, 4, 3), nn.ReLU()], AdamW(5e-3)),
        ([nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()], AdamW(5e-3)),
        ([nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)], SGD(0.15)),
        ([nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)], AdamW(5e-3)),
        ([nn.Conv2d(1, 4, 3), nn.LayerNorm([4, 6, 6])], AdamW()),
        ([nn.Identity()], AdamW()),
    ],
)
def test_other_networks_have_adamw(layers: list[nn.Module], expected: Optimiser) -> None:
    network = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10))
    network(torch.zeros(2, 1, 8, 8))
    assert default_optimiser(AdversarialTraining(), Classifier(network)) == expected


@pytest.mark.parametrize(
    "objective", [IBP(), LinearProbe(), AWP(IBP()), MultiNorm(SABR(), (harden.Linf("0.1"),))]
)
def test_adamw_for_other_objectives(objective: Objective) -> None:
    assert default_optimiser(objective, Classifier(small_cnn())) == AdamW()


def test_a_recipe_keeps_what_it_names() -> None:
    recipe = Recipe(optimiser=AdamW(0.5), bfloat16=True)
    assert with_defaults(recipe, Classifier(small_cnn())) == recipe


@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_is_used_where_the_device_multiplies_it(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harden.hardening.recipe_defaults.bfloat16_is_native", lambda device: native)
    assert with_defaults(Recipe(bfloat16=None), Classifier(small_cnn())).bfloat16 is native
    assert with_defaults(Recipe(), Classifier(small_cnn())).bfloat16 is False
    assert with_defaults(Recipe(bfloat16=not native), Classifier(small_cnn())).bfloat16 is not native


def test_a_run_reports_the_optimiser_that_it_used() -> None:
    data, threat = harden.data.load("digits").train, harden.Linf("1/10")
    for network, kind in ((small_cnn(), SGD), (dense(), AdamW)):
        hardened = harden.harden(
            harden.Classifier(network), data, threat=threat, budget="1epochs", exportable=False
        )
        assert isinstance(hardened.recipe.optimiser, kind)
        assert hardened.origin.recipe is not None
        described = hardened.origin.recipe["optimiser"]
        assert isinstance(described, dict)
        assert described["kind"] == f"harden.training:{kind.__name__}"


def test_a_recipe_without_an_optimiser_has_no_stages() -> None:
    with pytest.raises(ValueError, match="without an optimiser"):
        stages(Recipe(), Budget.parse("1E"))
