"""Images of another size: each mode against onnxruntime, and linear interpolation against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.indexing import Gather
from harden.graph.operators.interpolation import Interpolate
from tests.graph.cases import same
from tests.graph.graphs import normal, one


def resized(*scales: float, opset: int = 18, **attributes: Any) -> onnx.ModelProto:
    """A file that resizes images (2, 6, 8)."""
    given = (None, np.array([1, 1, *scales], np.float32))
    return one("Resize", ("n", 2, 6, 8), *given, opset=opset, **attributes)


@pytest.mark.parametrize("scales", [(2, 2), (0.5, 1.5), (1.25, 0.75)])
@pytest.mark.parametrize("where", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_positions_and_modes(scales: tuple[float, float], where: str, mode: str) -> None:
    """Compared with the runtime wherever it is read: positions next to a turn of the rounding are refused."""
    file = resized(*scales, mode=mode, coordinate_transformation_mode=where, nearest_mode="floor")
    try:
        read(file)
    except InputError as error:
        assert where == "align_corners"
        assert "align_corners to" in str(error) or "round differently" in str(error)  # noqa: PT017
        return
    same(file, 2, 6, 8)


@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_each_rounding_of_a_position_half_way(nearest: str) -> None:
    file = resized(0.5, 2, mode="nearest", nearest_mode=nearest)
    assert all(isinstance(node.operation, Gather) for node in read(file).nodes)
    same(file, 2, 6, 8)


@pytest.mark.parametrize("scale", [2.0, 0.5, 4.0])
def test_linear_interpolation_is_torch_s_and_exact_for_powers_of_two(scale: float) -> None:
    graph = read(resized(scale, scale, mode="linear", coordinate_transformation_mode="half_pixel"))
    x = torch.from_numpy(normal(3, 2, 6, 8))
    expected = functional.interpolate(x, scale_factor=scale, mode="bilinear")
    torch.testing.assert_close(graph.run(x), expected)
    assert all(isinstance(node.operation, Interpolate) and node.operation.exact for node in graph.nodes)
    assert mixing(graph) == ()


def test_shares_that_float32_rounds_are_not_exact() -> None:
    graph = read(resized(1.5, 1, mode="linear", coordinate_transformation_mode="half_pixel"))
    assert [getattr(node.operation, "exact", None) for node in graph.nodes] == [False]


def test_an_interpolation_by_hand() -> None:
    x = torch.tensor([[[1.0, 10.0], [3.0, 20.0]]], requires_grad=True)
    found = Interpolate(1, (0, 0, 1), (0, 1, 1), (0.0, 0.25, 0.0), True)(x)
    assert found.tolist() == [[[1.0, 10.0], [1.5, 12.5], [3.0, 20.0]]]
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert gradient.tolist() == [[[1.75, 1.75], [1.25, 1.25]]]


def test_sizes_in_place_of_scales() -> None:
    sizes = np.array([5, 12])
    file = one("Resize", ("n", 2, 6, 8), None, None, sizes, axes=[2, 3], mode="linear")
    assert read(file).output.shape == (-1, 2, 5, 12)
    same(file, 2, 6, 8)


@pytest.mark.parametrize("opset", [7, 9])
def test_the_operator_of_older_files(opset: int) -> None:
    scales = [1.0, 1.0, 2.0, 3.0]
    inputs = () if opset == 7 else (np.array(scales, np.float32),)
    more: dict[str, Any] = {"scales": scales} if opset == 7 else {}
    for mode in ("nearest", "linear"):
        same(one("Upsample", ("n", 2, 3, 4), *inputs, opset=opset, mode=mode, **more), 2, 3, 4)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"mode": "cubic"}, "mode=cubic"),
        ({"mode": "linear", "antialias": 1}, "antialias=1"),
        ({"mode": "cubic", "exclude_outside": 1}, "mode=cubic"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
        ({"nearest_mode": "up"}, "nearest_mode=up"),
    ],
)
def test_what_is_not_read(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(resized(2, 2, **attributes))
