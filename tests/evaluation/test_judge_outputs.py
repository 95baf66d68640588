"""The judge's classes, and the refusals of models, threats, labels and images."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.evaluation.judge_outputs import (
    check_answer,
    check_model,
    check_threat,
    judge_classes,
    judge_logits,
    predicted_classes,
)
from harden.models import Classifier
from harden.threats import Linf

X, Y = torch.zeros(2, 1, 2, 2), torch.tensor([0, 1])


def test_the_first_of_equal_classes_is_predicted_and_none_where_a_logit_is_not_finite() -> None:
    rows = [
        [0.0, 2.0, 2.0],
        [math.nan, 0.0, 1.0],
        [0.0, 1.0, math.inf],
        [-math.inf, 0.0, 0.0],
        [3.0, 1.0, 2.0],
    ]
    logits = torch.tensor(rows)
    assert predicted_classes(logits).tolist() == [1, -1, -1, -1, 0]
    assert judge_classes(lambda x: logits, torch.zeros(5, 1), torch.tensor([2] * 5)).tolist() == [
        *(1, -1, -1, -1, 0)
    ]


@pytest.mark.parametrize(("y", "seen"), [([0, 2], "labels 0 to 2"), ([-1, 1], "labels -1 to 1")])
def test_labels_beyond_the_classes_are_refused(y: list[int], seen: str) -> None:
    with pytest.raises(InputError, match=f"{seen} for 2 logits; expected labels 0 to 1"):
        judge_logits(lambda x: torch.zeros(len(x), 2), X, torch.tensor(y))


def test_one_logit_is_refused() -> None:
    with pytest.raises(InputError, match="a network with one logit"):
        judge_logits(lambda x: torch.zeros(len(x), 1), X, Y)


def test_what_is_no_classifier_or_threat_is_refused() -> None:
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    check_model(model)
    check_threat(Linf(1))
    with pytest.raises(InputError, match=r"a Sequential; expected a harden\.Classifier"):
        check_model(model.network)
    for threat in (Linf, "linf", 8 / 255):
        with pytest.raises(InputError, match="expected Linf, L2 or L1"):
            check_threat(threat)


def test_a_network_that_fails_on_the_images_is_named_as_the_reason() -> None:
    def other_size(x: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\nmore")

    with pytest.raises(InputError) as caught:
        check_answer(other_size, X, Y)
    assert caught.value.seen.startswith("images of shape (1, 2, 2) on which the network fails (mat1 and mat2")
    assert "more" not in caught.value.seen
    check_answer(lambda x: torch.zeros(len(x), 2), X, Y)


def test_memory_that_ran_out_is_no_input_error() -> None:
    def large(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        check_answer(large, X, Y)
