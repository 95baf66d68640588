"""Checks before training, and the error for an epoch without a step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harden.data import from_loader
from harden.errors import InputError
from harden.models import Classifier
from harden.objectives import AWP, FreeAdversarialTraining, PriorGuidedFGSM, Standard
from harden.threats import L2, Linf
from harden.training import Budget, Stage, StepRecord
from harden.training.preflight import check_budget, check_fit, check_objective, no_batch

X, Y = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2


def loader(
    x: Tensor, y: Tensor = Y, size: int = 8, *, drop_last: bool = False
) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(x, y), size, drop_last=drop_last)


@pytest.mark.parametrize(
    ("size", "drop_last", "instead"),
    [
        (32, True, "pass a smaller batch size, or drop_last=False"),
        (1, False, "pass more images, or a larger batch size"),
        (1, True, "pass more images, or a larger batch size"),
    ],
)
def test_an_epoch_without_a_step_is_told_by_what_dropped_its_images(
    size: int, drop_last: bool, instead: str
) -> None:
    assert no_batch(from_loader(loader(X, size=size, drop_last=drop_last))).instead == instead


@pytest.mark.parametrize("x", [(X > 0.5).to(torch.uint8), X / 255])
def test_pixels_in_the_first_step_of_eight_bits_are_refused(x: Tensor) -> None:
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    with pytest.raises(InputError, match=r"pixels up to 0\.0039.*second division"):
        check_fit(model, from_loader(loader(x)))
    check_fit(model, from_loader(loader(X)))


def test_one_class_can_be_evaluated_and_not_learnt() -> None:
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    source = from_loader(loader(X, torch.zeros_like(Y)))
    check_fit(model, source, learns=False)
    with pytest.raises(InputError, match="examples of at least two classes"):
        check_fit(model, source)


@pytest.mark.parametrize("unit", ["E", "epochs"])
def test_a_budget_has_to_reach_all_images_though_each_is_replayed(unit: str) -> None:
    free, source = FreeAdversarialTraining(replays=4), from_loader((X, Y), 8)
    record = StepRecord("s", 1, 0.1, 8 / 20, 0.0, 1.0, 1e-3, 0.1, examples=8)  # a pass for each image
    check_budget(Stage("s", free, Budget.parse(f"4{unit}")), source, record)
    check_budget(Stage("s", Standard(), Budget.parse(f"1{unit}")), source, record)
    with pytest.raises(InputError) as refused:
        check_budget(Stage("s", free, Budget.parse(f"2{unit}")), source, record)
    assert f"one epoch costs 4{unit}" in refused.value.seen
    assert refused.value.instead == "write a budget 2 times as large, or fewer replays"


def test_memory_and_threat_are_checked_inside_of_awp_too() -> None:
    model, source = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2))), from_loader((X, Y), 8)
    check_objective(AWP(PriorGuidedFGSM()), model, source, Linf("0.1"))
    with pytest.raises(InputError, match="whose priors take"):
        check_objective(AWP(PriorGuidedFGSM(memory_limit=10)), model, source, Linf("0.1"))
    with pytest.raises(InputError, match="FGSM-PGI against L2"):
        check_objective(AWP(PriorGuidedFGSM()), model, source, L2("0.1"))
