"""The estimate of a run's cost, against counts by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.hardening import Recipe
from harden.hardening.cost_estimate import estimate
from harden.hardening.run_inputs import RunInputs
from harden.models import Classifier
from harden.objectives import SimCLR, Standard
from harden.training import AdamW
from harden.views import DIGITS

MakeRun = Callable[..., RunInputs]


def test_epochs_of_plain_training_cost_a_pass_an_image(make_run: MakeRun) -> None:
    found = estimate(make_run("7epochs"))
    finetune, evaluation = found.parts
    assert (finetune.name, evaluation.name) == ("finetune", "evaluation")
    assert finetune.passes == pytest.approx(7 * 90)  # a tenth of 100 images is held out
    assert finetune.seconds == pytest.approx(finetune.passes / finetune.passes_per_second)
    assert found.passes == finetune.passes + evaluation.passes
    assert found.seconds == finetune.seconds + evaluation.seconds
    assert found.memory > 1 << 20
    said = found.as_json()
    assert [part["name"] for part in said["stages"]] == ["finetune", "evaluation"]
    assert (said["passes"], said["memory_bytes"]) == (found.passes, found.memory)


def test_passes_are_divided_between_the_stages(make_run: MakeRun) -> None:
    views = SimCLR(views=DIGITS, hidden=8, width=4)
    recipe = Recipe(Standard(), pretrain=views, pretrain_share=0.25, optimiser=AdamW(), validations=4)
    pretrain, finetune, _ = estimate(make_run("40E", recipe=recipe)).parts
    # Validation is within a budget of passes.
    assert pretrain.passes == pytest.approx(0.25 * 40 * 90)
    assert finetune.passes == pytest.approx(0.75 * 40 * 90)
    assert not finetune.bound


def test_validations_come_on_top_of_epochs(make_run: MakeRun) -> None:
    costs = [
        estimate(make_run("7epochs", recipe=Recipe(Standard(), optimiser=AdamW(), validations=count))).parts[
            0
        ]
        for count in (0, 1, 3)
    ]
    extra = [each.passes - costs[0].passes for each in costs]
    assert extra[2] == pytest.approx(3 * extra[1])
    # Ten steps of one PGD on 10 images, and the forwards before them.
    assert 10 * 10 <= extra[1] <= 10 * 13
    assert costs[1].bound


def test_a_model_with_weights_of_its_own_is_attacked_too(make_run: MakeRun) -> None:
    fresh, trained = (estimate(make_run(trained=trained)).parts[-1] for trained in (False, True))
    assert fresh.bound
    assert fresh.passes < trained.passes < 2 * fresh.passes  # the curve is of one of both


def test_a_budget_below_an_epoch_is_refused(make_run: MakeRun) -> None:
    for budget in ("0.9epochs", "0.9E"):
        with pytest.raises(InputError, match="at least one epoch"):
            estimate(make_run(budget))


def test_a_batch_without_memory_is_refused_with_half_of_it(make_run: MakeRun) -> None:
    class Full(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            logits: Tensor = self.head(x.flatten(1))
            return logits

    with pytest.raises(InputError, match="batches of 32 images") as caught:
        estimate(make_run(model=Classifier(Full())))
    assert "--batch-size 16, or --auto-batch" in caught.value.instead
