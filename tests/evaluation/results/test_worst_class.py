"""The class with the lowest robust accuracy, on results written by hand."""

from __future__ import annotations

import torch

from harden.evaluation import Evaluation
from harden.evaluation.results.result import Witnesses
from harden.statistics import Proportion
from harden.threats import Linf

NONE = torch.empty(0, dtype=torch.int64)
IMAGES = torch.empty(0, 1, 1, 1)


def found(labels: list[int], predictions: list[int], broken: list[int]) -> Evaluation:
    return Evaluation(
        threat=Linf("0.1"),
        labels=torch.tensor(labels),
        predictions=torch.tensor(predictions),
        broken=torch.tensor(broken).bool(),
        attempts=(),
        checks=(),
        witnesses=Witnesses(NONE, NONE, NONE, IMAGES, IMAGES),
        passes=0.0,
        seconds=0.0,
        broken_by=NONE,
        broken_at=NONE,
    )


def test_is_the_lowest_in_robust_accuracy_not_in_clean() -> None:
    # Class 2: one of three right when clean, and it is unbroken. Class 5: all right, all broken.
    result = found([2, 2, 2, 5, 5], [2, 0, 0, 5, 5], [0, 0, 0, 1, 1])
    assert result.worst_class == (5, Proportion(2, 2), Proportion(0, 2))


def test_of_several_it_is_the_lowest_label() -> None:
    # Thirds of classes of different size are equal.
    labels = [7] * 3 + [4] * 6 + [9]
    broken = [1, 1, 0, 1, 1, 1, 1, 0, 0, 0]
    result = found(labels, labels, broken)
    assert result.worst_class == (4, Proportion(6, 6), Proportion(2, 6))


def test_of_one_class_it_is_that_class() -> None:
    assert found([3, 3], [3, 3], [1, 0]).worst_class == (3, Proportion(2, 2), Proportion(1, 2))
