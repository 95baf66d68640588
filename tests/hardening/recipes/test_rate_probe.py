"""Short trials choose the learning rate of fine-tuning, out of its budget and on held-out images alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harden.data import from_loader
from harden.errors import DivergedError, InputError
from harden.hardening import Hardened, Recipe, harden
from harden.hardening.recipes import rate_probe as module
from harden.hardening.recipes.rate_probe import (
    PROBE_STAGE,
    RateProbe,
    RateTrial,
    at_rate,
    best_rate,
    ends,
    try_rates,
)
from harden.models import Classifier
from harden.objectives import SimCLR, Standard
from harden.threats import Linf
from harden.training import SGD, AdamW, Budget, Checkpoints, Stage, StepRecord, Validation
from harden.training.weights.weight_averaging import weights_of
from harden.views import DIGITS

THREAT = Linf("0.1")
RECIPE = Recipe(Standard(), optimiser=SGD(0.05), rate_probe=RateProbe((0.01, 1.0)), held_out=0.3)
STAGE = Stage("finetune", Standard(), Budget.parse("10epochs"), optimiser=SGD(0.05), ramp=0.0)


def run(model: Classifier, data: tuple[Tensor, Tensor], recipe: Recipe = RECIPE, **options: Any) -> Hardened:
    options = {"budget": "20epochs", **options}
    return harden(model, from_loader(data, 50), threat=THREAT, recipe=recipe, **options)


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"factors": (1.0,)}, "factors"),
        ({"factors": (1.0, 0.0)}, "factors"),
        ({"factors": (1.0, math.inf)}, "factors"),
        ({"share": 0.125}, "4 trials of 0.125"),
        ({"share": 0.0}, "4 trials of 0.0"),
    ],
)
def test_numbers_out_of_their_range_are_refused(options: dict[str, Any], seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        RateProbe(**options)


@pytest.mark.parametrize(
    ("trials", "rate"),
    [
        ([(0.1, 0.2), (1.0, 0.3), (3.0, 0.1)], 1.0),
        ([(0.1, 0.4), (1.0, 0.3), (3.0, -1.0)], 0.1),
        ([(0.1, 0.3), (1.0, 0.3), (3.0, 0.3)], 1.0),  # equal: the usual one
        ([(0.1, 0.3), (0.5, 0.2), (3.0, 0.3)], 3.0),  # equal: the closest in ratio
        ([(0.1, -1.0), (1.0, 0.0)], 1.0),
    ],
)
def test_the_best_trial_gives_the_rate(trials: list[tuple[float, float]], rate: float) -> None:
    assert best_rate([RateTrial(each, None, robust) for each, robust in trials], 1.0) == rate


def test_losses_that_are_never_finite_are_reported() -> None:
    with pytest.raises(DivergedError, match=r"any learning rate from 0\.1 on"):
        best_rate([RateTrial(0.1, None, -1.0), RateTrial(1.0, None, -1.0)], 1.0)


def test_an_optimiser_without_a_field_lr_is_refused() -> None:
    @dataclass(frozen=True)
    class Other:
        rate: float = 0.1

        @property
        def lr(self) -> float:
            return self.rate

        def build(self, module: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.SGD(module.parameters(), lr=self.rate)

    with pytest.raises(InputError, match="an optimiser of type Other"):
        at_rate(replace(STAGE, optimiser=Other()), 0.2)
    assert at_rate(replace(STAGE, optimiser=AdamW(0.1)), 0.2).optimiser == AdamW(0.2)


def test_trials_leave_the_model_alone_and_repeat(model: Classifier, data: tuple[Tensor, Tensor]) -> None:
    before = {name: value.clone() for name, value in weights_of(model).items()}
    images = from_loader(data, 50)
    rest, held_out = images.hold_out(0.3, 1)
    stage, probe = replace(STAGE, images=len(rest)), RateProbe((0.1, 1.0, 1e30), share=0.1)
    steps: list[StepRecord] = []
    first = try_rates(probe, stage, model, (rest, Validation(held_out, THREAT)), steps.append)
    again = try_rates(probe, stage, model, (rest, Validation(held_out, THREAT)))
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())
    assert [(trial.rate, trial.robust) for trial in first] == [(trial.rate, trial.robust) for trial in again]
    assert [trial.rate for trial in first] == pytest.approx([0.005, 0.05, 5e28])
    assert first[0].robust >= 0
    assert first[2].robust == -1  # not finite
    for trial in first[:2]:
        assert trial.last is not None
        assert trial.last.examples == len(rest)  # a tenth of ten epochs
        assert trial.last.robust == trial.robust
    assert {step.stage for step in steps} == {PROBE_STAGE}
    assert [record.event for record in ends(first)][:2] == ["learning rate 0.005", "learning rate 0.05"]


def test_fine_tuning_has_the_best_rate_and_the_rest_of_the_budget(
    model: Classifier, data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    robust = iter((0.9, 0.1))

    def scripted(*given: Any, **named: Any) -> list[RateTrial]:
        return [replace(trial, robust=next(robust)) for trial in try_rates(*given, **named)]

    monkeypatch.setattr("harden.hardening.run_stages.try_rates", scripted)
    steps: list[StepRecord] = []
    hardened = run(model, data, on_step=steps.append)
    assert [stage.name for stage in hardened.origin.stages] == [PROBE_STAGE, "finetune"]
    finetuning = [step for step in steps if step.stage == "finetune"]
    assert max(step.learning_rate for step in finetuning) == pytest.approx(0.0005, rel=0.1)
    trained = len(data[0]) * 0.7
    assert finetuning[-1].examples / trained == pytest.approx(20 * (1 - 2 * 0.03), abs=0.5)
    curve = [point for point in hardened.origin.history if point.stage == PROBE_STAGE]
    assert [point.event for point in curve] == ["learning rate 0.0005", "learning rate 0.05"]
    assert all(point.robust is not None for point in curve)


def test_a_resumed_run_has_the_same_rate_and_weights(
    model: Classifier, data: tuple[Tensor, Tensor], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, pretrain=SimCLR(views=DIGITS, hidden=16, width=8))
    whole = run(model, data, recipe)

    class Stop(Exception):
        pass

    def stop(step: StepRecord) -> None:
        if step.stage == "finetune" and step.step == 7:
            raise Stop

    checkpoints = Checkpoints(tmp_path / "run", resume=True, every=0)
    with pytest.raises(Stop):
        run(model, data, recipe, checkpoints=checkpoints, on_step=stop)
    monkeypatch.setattr(module, "train", None)  # no trial is made again
    resumed = run(model, data, recipe, checkpoints=checkpoints)
    expected = weights_of(whole.model)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(resumed.model).items())
    assert [stage.name for stage in resumed.origin.stages] == ["pretrain", PROBE_STAGE, "finetune"]

    def known(hardened: Hardened) -> list[tuple[object, ...]]:
        return [(point.stage, point.step, point.loss, point.event) for point in hardened.origin.history]

    assert known(resumed) == known(whole)
