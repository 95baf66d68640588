"""Labels that are no class numbers are refused with what to write; rows of several classes get no guess."""

from __future__ import annotations

import logging
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

from harden.data import Examples
from harden.data.formats.label_values import check_label_array, label_rows_error, numbered_classes
from harden.errors import InputError

EYE = np.eye(3)[[0, 2, 1, 0]]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (EYE, r"apparently one-hot.*write y\.argmax\(1\)"),
        (EYE.astype(bool), r"apparently one-hot.*write y\.argmax\(1\)"),
        (np.array([[1, 1, 0], [0, 0, 1]]), "row 0 has 2 classes.*multi-label.*are not covered"),
        (np.array([[0.0, 1, 0], [0, 0, 0]]), "row 1 has 0 classes.*multi-label"),
        (np.array([[0.2, 0.8], [0.5, 0.5]]), "shares of classes.*decide on one class"),
        (np.array([[1, -1, 0], [0, 1, 1]]), "rows of numbers.*decide on one class"),
        (np.array([[1.0, np.nan]]), "rows of numbers"),
        (np.array([["cat", "dog"]]), "pass one class an image"),
        (np.zeros((2, 4, 4), dtype=np.int64), "masks are not covered"),
        (np.array(["cat", "dog"]), r"np\.unique\(y, return_inverse=True\)$"),
        (np.array([b"cat"]), "np.unique"),
        (np.array([1.0, 2.0]), r"float64; .*integer class numbers.*y\.astype\('int64'\)"),
        (np.array([1.0, 2.5]), "such as 2.5;.*regression"),
        (np.array([1.0, np.nan]), "1 that are NaN.*without a label"),
        (np.array([True, False]), r"bool.*astype\('int64'\)"),
        (np.array([2**63], dtype=np.uint64), "9,223,372,036,854,775,808"),
    ],
)
def test_what_is_no_class_number(labels: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        check_label_array(labels, "y")
    if "argmax" not in says:
        assert "argmax" not in str(caught.value)


def test_integers_pass() -> None:
    for kind in ("u1", "i4", "u8", ">i2"):
        check_label_array(np.array([0, 1, 2], dtype=kind), "y")
        check_label_array(np.array([[0], [1]], dtype=kind), "y")


def test_rows_of_a_tensor_are_told_as_those_of_an_array() -> None:
    x = torch.rand(2, 1, 4, 4)
    with pytest.raises(InputError, match="multi-label") as caught:
        Examples(x, torch.tensor([[1, 1], [0, 1]]), ("a", "b"))
    assert "argmax" not in str(caught.value)
    assert "argmax" in str(label_rows_error(EYE, "y"))


def test_an_id_is_no_label_and_takes_no_memory() -> None:
    tracemalloc.start()
    with pytest.raises(InputError, match=r"labels up to 1,099,511,627,776, 2 different ones"):
        numbered_classes(torch.tensor([0, 2**40]), "set")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_labels_that_start_at_one_are_refused_in_the_whole_alone() -> None:
    y = torch.tensor([1, 2, 3, 1])
    with pytest.raises(InputError, match=r"labels 1 to 3 and none of 0.*write y - 1"):
        numbered_classes(y, "set", y)
    assert numbered_classes(y, "set") == ("0", "1", "2", "3")


def test_gaps_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "harden"):
        assert len(numbered_classes(torch.tensor([0, 1, 5, 2]), "set", torch.tensor([0, 1, 5]))) == 6
    assert "3 of the classes 0 to 5 have no image to train on, first 2" in caplog.text
    caplog.clear()
    numbered_classes(torch.tensor([0, 1, 2]), "set", torch.tensor([2, 1, 0]))
    assert caplog.text == ""
