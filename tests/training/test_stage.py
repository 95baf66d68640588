"""Stages: limits of their shares, and the weighted share that chooses a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harden.errors import InputError
from harden.objectives import Standard
from harden.training import Budget, Stage
from harden.training.stage import weighted_share


def stage(**options: Any) -> Stage:
    return Stage("one", Standard(), Budget.parse("2epochs"), **options)


@pytest.mark.parametrize("options", [{"clip": 0.0}, {"clip": float("nan")}, {"validations": -1}])
def test_a_length_and_a_count_are_positive(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a positive length, a count"):
        stage(**options)
    assert stage(validations=0, ramp=1.0, average=0.0).validations == 0


@pytest.mark.parametrize(
    "options", [{"ramp": 1.1}, {"ramp": -0.1}, {"average": 1.0}, {"average": float("nan")}]
)
def test_a_stage_refuses_shares_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a share in"):
        stage(**options)


def test_class_weights_decide_the_choice_of_the_weights_too() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    constant = torch.tensor([True, True, True, False])
    learnt = torch.tensor([True, True, False, True])
    assert weighted_share(constant, labels, (4 / 6, 4 / 2)) == pytest.approx(0.5)
    assert weighted_share(learnt, labels, (4 / 6, 4 / 2)) == pytest.approx(5 / 6)
    assert weighted_share(learnt, labels, (0.0, 0.0)) == 0.75
