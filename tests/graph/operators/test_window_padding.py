"""Windows of random geometry beside the runtime's: strides, pads on any side, dilations, rounding up."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from harden.graph import read
from harden.graph.operators.window_padding import rounded_up
from tests.graph.graphs import Array, normal, one, run


def geometry(draw: random.Random, axes: int, dilated: bool) -> dict[str, Any]:
    """Attributes that every release of the runtime takes: pads below the window, none that dilates SAME."""
    kernel = [draw.randint(1, 4) for _ in range(axes)]
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": [draw.randint(1, 3) for _ in range(axes)]}
    mode = draw.choice(["any pads", "any pads", "alike", "VALID", "SAME_UPPER", "SAME_LOWER"])
    if mode == "any pads":
        found["pads"] = [draw.randint(0, kernel[at % axes] - 1) for at in range(2 * axes)]
    elif mode == "alike":
        found["pads"] = 2 * [draw.randint(0, width - 1) for width in kernel]
    else:
        found["auto_pad"] = mode
    if mode.startswith("SAME"):  # where steps leave a gap the runtime refuses it
        found["strides"] = [min(pair) for pair in zip(found["strides"], kernel, strict=True)]
    elif dilated and draw.random() < 0.4:
        found["dilations"] = [draw.randint(1, 2) for _ in range(axes)]
    return found


def compared(kind: str, shape: tuple[int, ...], *weights: Array, **attributes: Any) -> None:
    """What the graph gives beside what the runtime gives, and a gradient that is a number everywhere."""
    file = one(kind, ("n", *shape), *weights, **attributes)
    x = normal(2, *shape, seed=sum(shape))
    expected = run(file, x)
    given = torch.from_numpy(x).requires_grad_()
    found = read(file).run(given)
    assert tuple(found.shape) == expected.shape, attributes
    np.testing.assert_allclose(
        found.detach().numpy(), expected, rtol=2e-5, atol=2e-5, err_msg=str(attributes)
    )
    (gradient,) = torch.autograd.grad(found.sum(), given)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("opset", [13, 18, 22])
def test_convolutions(axes: int, opset: int) -> None:
    draw = random.Random(100 * axes + opset)
    for _ in range(25):
        attributes = geometry(draw, axes, dilated=True)
        groups = draw.choice([1, 2, 4])
        weight = normal(8, 4 // groups, *attributes["kernel_shape"])
        size = (4, *(draw.randint(7, 10) for _ in range(axes)))
        compared("Conv", size, weight, normal(8), group=groups, opset=opset, **attributes)


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


def test_rounding_up_begins_no_window_in_the_padding_at_the_end() -> None:
    # 8 places and 2 of padding, a window every third: one at 6 is left, one at 9 would see padding alone.
    assert rounded_up((8,), (3,), (3,), (0, 2), (1,)) == (0, 1)
    # A last window that leaves places of the image out.
    assert rounded_up((8,), (2,), (3,), (0, 0), (1,)) == (0, 0)
    assert rounded_up((9,), (1,), (3,), (0, 0), (1,)) == (0, -2)
