"""Renumbering of test labels by the classes of a model."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from harden.data.align_labels import are_numbers, with_classes
from harden.data.formats.arrays import from_arrays
from harden.errors import InputError

X = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 4), dtype=np.uint8)
Y = np.arange(12) % 3


def test_a_models_classes_number_a_test_part_that_lacks_some() -> None:
    names = ("ant", "cat", "dog", "owl")
    alone = from_arrays({"x_test": X, "y_test": Y}, "set", ("ant", "dog", "owl"))
    found = with_classes(alone, names)
    assert found.test.classes == names
    assert found.test.y.tolist() == [(0, 2, 3)[label] for label in Y]
    numbered = with_classes(from_arrays({"x_test": X, "y_test": Y}, "set"), names)
    assert (numbered.test.classes, numbered.test.y.tolist()) == (names, Y.tolist())
    whole = from_arrays({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}, "set")
    assert with_classes(whole, names) is whole
    with pytest.raises(InputError, match=r"images of ape.*classes of the model: ant, cat"):
        with_classes(from_arrays({"x_test": X, "y_test": Y}, "set", ("ant", "ape", "owl")), names)


def test_a_whole_set_keeps_its_numbers_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    arrays: dict[str, object] = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
    whole = from_arrays(arrays, "set", ("ant", "dog", "owl"))
    with caplog.at_level(logging.WARNING, "harden"):
        assert with_classes(whole, ("ant", "dog", "owl")) is whole
        assert with_classes(whole, ("0", "1", "2")) is whole
        assert caplog.text == ""
        assert with_classes(whole, ("ant", "cat", "owl")) is whole
    assert "'dog' in the place of 'cat'" in caplog.text


def test_numbers_beyond_the_models_classes_are_kept() -> None:
    alone = from_arrays({"x_test": X, "y_test": Y}, "set")
    assert with_classes(alone, ("ant", "cat")) is alone


def test_classes_named_by_their_numbers() -> None:
    assert are_numbers(("0", "1", "2"))
    assert not are_numbers(("1", "0"))
    assert not are_numbers(("00", "01"))
