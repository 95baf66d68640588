"""Class weights inversely proportional to class sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.data import balanced_weights
from harden.errors import InputError
from harden.objectives.class_weighting import weighted_mean


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data())
def test_balanced_weights_give_every_class_the_same_say(labels: list[int], data: st.DataObject) -> None:
    weights = balanced_weights(torch.tensor(labels), 5)
    assert sum(weights[label] for label in labels) == pytest.approx(len(labels))
    values = data.draw(st.lists(st.floats(0, 4, width=32), min_size=len(labels), max_size=len(labels)))
    mean = float(weighted_mean(torch.tensor(values), torch.tensor(labels), weights, 5))
    classes = sorted(set(labels))
    of_class = [[v for v, label in zip(values, labels, strict=True) if label == k] for k in classes]
    assert mean == pytest.approx(sum(sum(v) / len(v) for v in of_class) / len(classes), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        (torch.tensor([0, 3]), 3, r"labels in 0\.\.3.*0\.\.2"),
        (torch.tensor([-1, 1]), 3, r"labels in -1\.\.1"),
        (torch.empty(0, dtype=torch.int64), 3, "one at least"),
        (torch.tensor([0.5]), 3, "float32"),
    ],
)
def test_balanced_weights_refuse(labels: Tensor, classes: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        balanced_weights(labels, classes)


def test_balanced_weights_by_hand() -> None:
    # 6 examples, 3 classes of which two occur: 6 / (2 * 4) and 6 / (2 * 2).
    assert balanced_weights([0, 0, 2, 0, 2, 0], 3) == (0.75, 0.0, 1.5)
