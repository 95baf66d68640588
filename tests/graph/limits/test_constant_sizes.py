"""The size of a folded constant is inferred and refused before the constant is made."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx import helper

from harden.errors import InputError
from harden.graph.limits.constant_sizes import check_outputs
from harden.system.size_limits import TENSOR_BYTES


def test_each_output_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    split = helper.make_node("Split", ["x", "parts"], ["small", "large"], axis=0)
    arrays = [np.zeros(10, np.float32), np.array([2, 8])]
    monkeypatch.setenv(TENSOR_BYTES.variable, "32")
    check_outputs(split, arrays, 18)
    monkeypatch.setenv(TENSOR_BYTES.variable, "31")
    with pytest.raises(InputError, match="the constant 'large', which Split makes, of 32 bytes"):
        check_outputs(split, arrays, 18)


def test_inputs_that_do_not_fit_are_left_to_the_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is inferred of them, so nothing is refused."""
    monkeypatch.setenv(TENSOR_BYTES.variable, "1")
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    check_outputs(matmul, [np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)], 18)
    unknown = helper.make_node("NoOperator", ["x"], ["y"])
    check_outputs(unknown, [np.zeros(3, np.float32)], 18)


@pytest.mark.parametrize(("width", "dtype"), [(4, np.float32), (8, np.int64), (1, np.uint8)])
def test_a_constant_s_bytes_follow_its_type(width: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = np.array([30, 40])
    expand = helper.make_node("Expand", ["x", "n"], ["y"])
    arrays = [np.zeros(1, dtype), shape]
    monkeypatch.setenv(TENSOR_BYTES.variable, str(width * math.prod(shape.tolist())))
    check_outputs(expand, arrays, 13)
    monkeypatch.setenv(TENSOR_BYTES.variable, str(width * math.prod(shape.tolist()) - 1))
    with pytest.raises(InputError, match="the constant 'y', which Expand makes"):
        check_outputs(expand, arrays, 13)
