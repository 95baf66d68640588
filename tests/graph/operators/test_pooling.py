"""Maxima and means over windows: random geometry against onnxruntime, padding against the definition."""

from __future__ import annotations

import random

import pytest
import torch

from harden.errors import InputError
from harden.graph import read
from harden.graph.operators.pooling import ROWS, AveragePool, MaxPool
from tests.graph.cases import check_case, named
from tests.graph.graphs import one
from tests.graph.windows import compared, geometry


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


def test_padding_counts_or_not_by_hand() -> None:
    """Windows of 3 over (1, 2, 3), padded by 2 in front and 1 behind: (p, p, 1), (p, 1, 2), ... (2, 3, p)."""
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    inside, counted = (
        AveragePool((3,), (1,), (2, 1), count_include_pad=each)(x)[0, 0].tolist() for each in (False, True)
    )
    assert inside == pytest.approx([1, 1.5, 2, 2.5])
    assert counted == pytest.approx([1 / 3, 1, 2, 5 / 3])
    assert MaxPool((3,), (1,), (2, 1), (1,))(-x)[0, 0].tolist() == [-1, -1, -1, -2]


def test_a_last_window_that_is_not_full() -> None:
    """ceil_mode: places beyond the image and its padding never count."""
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
    for count in (False, True):
        found = AveragePool((2,), (2,), (0, 0), ceil_mode=True, count_include_pad=count)(x)
        assert found[0, 0].tolist() == [1.5, 3.5, 5.0]
    assert AveragePool((2,), (2,), (1, 0), True, True)(x)[0, 0].tolist() == [0.5, 2.5, 4.5]
    assert MaxPool((2,), (2,), (0, 0), (1,), ceil_mode=True)(x)[0, 0].tolist() == [2.0, 4.0, 5.0]


def test_places_of_maxima_and_column_order_are_refused() -> None:
    with pytest.raises(InputError, match="storage_order=1"):
        read(one("MaxPool", ("n", 2, 6, 6), kernel_shape=[2, 2], storage_order=1))
    with pytest.raises(InputError, match=r"images of shape \[2, 6\]"):
        read(one("GlobalMaxPool", ("n", 6)))


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("opset", [13, 18, 22])
def test_maxima(axes: int, opset: int) -> None:
    draw = random.Random(100 * axes + opset)
    for _ in range(40):
        attributes = geometry(draw, axes, dilated=True) | {"ceil_mode": draw.randint(0, 1)}
        compared("MaxPool", (3, *(draw.randint(7, 10) for _ in range(axes))), opset=opset, **attributes)


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("opset", [13, 18, 22])
def test_means(axes: int, opset: int) -> None:
    draw = random.Random(100 * axes + opset)
    for _ in range(40):
        attributes = geometry(draw, axes, dilated=False)
        attributes |= {"ceil_mode": draw.randint(0, 1), "count_include_pad": draw.randint(0, 1)}
        compared("AveragePool", (3, *(draw.randint(4, 10) for _ in range(axes))), opset=opset, **attributes)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_in_three_dimensions(kind: str) -> None:
    compared(kind, (2, 5, 6, 7), kernel_shape=[2, 3, 2], strides=[1, 2, 2], pads=[0, 2, 1, 1, 0, 1])
