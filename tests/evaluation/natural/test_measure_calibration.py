"""Calibration of a judge on images, clean and with witnesses in place of broken ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.evaluation import (
    Calibration,
    Reliability,
    calibration_of,
    evaluate,
    pgd_suite,
    thresholded,
)
from harden.models import Classifier
from harden.threats import Linf


def measured(logits: Tensor, y: Tensor, bins: int = 15) -> Reliability:
    found = Calibration(bins)
    found.add(logits, y)
    return found.result()


def small(classes: int = 3) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(144, classes),
        )
    return Classifier(network)


def statistics_of(model: Classifier) -> Tensor:
    return model.network.get_buffer("1.running_mean")


def pictures(n: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % classes


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_a_judge_is_asked_in_inference_mode_about_every_image(batch_size: int, rng_untouched: None) -> None:
    model, (x, y) = small(), pictures(50)
    statistics = statistics_of(model).clone()
    reported: list[Any] = []
    found = calibration_of(model.logits, (x, y), batch_size=batch_size, on_batch=reported.append)
    assert model.training
    assert torch.equal(statistics_of(model), statistics)
    with torch.no_grad():
        expected = measured(model.eval().logits(x), y)
    assert found.reliability.ece == pytest.approx(expected.ece, abs=1e-6)
    assert (found.reliability.n, found.replaced) == (50, 0)
    assert [(each.name, each.done, each.total) for each in reported][-1] == ("calibration", 50, 50)
    assert reported[-1].passes == pytest.approx(50 / 3)


def test_under_attack_witnesses_stand_in_for_what_they_broke() -> None:
    model, (x, _) = small(), pictures(50)
    with torch.no_grad():
        y = model.eval().logits(x).argmax(1)
    y[:5] = (y[:5] + 1) % 3
    evaluation = evaluate(model, (x, y), Linf("1/20"), pgd_suite(5, 1), batch_size=16)
    assert 0 < len(evaluation.witnesses) < 45
    found = calibration_of(model.logits, (x, y), witnesses=evaluation.witnesses, batch_size=9)
    attacked = x.clone()
    attacked[evaluation.witnesses.index] = evaluation.witnesses.witness
    with torch.no_grad():
        expected = measured(model.logits(attacked), y)
    assert found.reliability.ece == pytest.approx(expected.ece, abs=1e-6)
    assert found.replaced == len(evaluation.witnesses)
    assert found.reliability.accuracy == evaluation.robust
    for other in ((x.flip(0), y.flip(0)), (x[:20], y[:20])):
        with pytest.raises(InputError, match="expected the images that were evaluated, in the same order"):
            calibration_of(model.logits, other, witnesses=evaluation.witnesses)


def test_data_of_one_class_and_a_judge_at_a_threshold_have_a_calibration() -> None:
    model, (x, y) = small(2), pictures(20, 1)
    found = calibration_of(model.logits, (x, y)).reliability
    assert found.accuracy.n == 20
    # Held still through the threshold too.
    model.train()
    calibration_of(thresholded(model.logits, 0.3), (x, y))
    assert torch.equal(statistics_of(model), torch.zeros(4))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.full((4, 1, 8, 8), 2.0), r"min 2 and max 2; expected pixels in \[0, 1\]"),
        (torch.full((4, 1, 8, 8), math.nan), "NaN|nan"),
        (torch.zeros(0, 1, 8, 8), "no pixels|no examples"),
    ],
)
def test_images_that_are_none_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibration_of(small().logits, (x, torch.zeros(len(x), dtype=torch.int64)))
