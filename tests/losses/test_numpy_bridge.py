"""Calls of NumPy functions: a float32 copy goes out, arrays, tensors and lists come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harden.losses.numpy_bridge import call_with_array


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_function_gets_a_contiguous_float32_copy(dtype: torch.dtype) -> None:
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = x.clone()

    def spoil(array: NDArray[np.float32]) -> NDArray[np.float32]:
        assert array.dtype == np.float32
        assert array.flags["C_CONTIGUOUS"]
        kept = array.copy()
        array[:] = -1.0
        return kept

    for given in (x, x.clone().requires_grad_(), x.contiguous(memory_format=torch.channels_last)):
        assert np.array_equal(call_with_array(spoil, given), before.float().numpy())
        assert torch.equal(given.detach(), before)


@pytest.mark.parametrize(
    "convert",
    [
        lambda rows: rows,
        lambda rows: torch.tensor(rows),
        lambda rows: torch.tensor(rows, requires_grad=True),
        lambda rows: np.array(rows),
    ],
    ids=["list", "tensor", "with a gradient", "array"],
)
def test_results_come_back_as_arrays(convert: Callable[[Any], object]) -> None:
    rows = [[1.0, 2.5], [3.0, -1.0]]
    found = call_with_array(lambda _: convert(rows), torch.zeros(2, 1, 1, 1))
    assert isinstance(found, np.ndarray)
    assert found.tolist() == rows
