"""A small model, a few digits, and the inputs of a run on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harden.data import Splits, load
from harden.evaluation import pgd_suite
from harden.evaluation.suite_lookup import SuiteChoice
from harden.hardening import Recipe
from harden.hardening.run_inputs import RunInputs, RunSettings
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import Standard
from harden.threats import Linf
from harden.training import AdamW, Budget

MakeRun = Callable[..., RunInputs]
PLAIN = Recipe(Standard(), optimiser=AdamW(), validations=0)
"""One pass for each image and step, and none for validation."""


@pytest.fixture(scope="session")
def data() -> tuple[Tensor, Tensor]:
    """200 digits."""
    train = load("digits").train
    return train.x[:200], train.y[:200]


@pytest.fixture
def model() -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Classifier(small_cnn(), mean=(0.3,), std=(0.35,))


@pytest.fixture(scope="session")
def few() -> Splits:
    """100 digits to train on, 16 to test on."""
    splits = load("digits")
    return Splits(splits.train.take(torch.arange(100)), splits.test.take(torch.arange(16)), "few")


@pytest.fixture
def make_run(few: Splits, model: Classifier) -> MakeRun:
    """Builds the inputs of a run; settings by name, the rest likewise."""

    def make(budget: str = "1epochs", **changed: Any) -> RunInputs:
        named = {name: changed.pop(name) for name in tuple(changed) if name in RunSettings.__slots__}
        suite, attempts = SuiteChoice("pgd", 1, 1), pgd_suite(1, 1)
        cpu = torch.device("cpu")
        settings = RunSettings(
            **{"threat": Linf("1/10"), "suite": suite, "attempts": attempts, "device": cpu, **named},
            budget=Budget.parse(budget),
        )
        usual = {"splits": few, "test": few.test, "recipe": PLAIN, "model": model, "batch_size": 32}
        return RunInputs(settings, **{**usual, **changed})

    return make
