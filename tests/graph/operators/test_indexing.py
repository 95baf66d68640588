"""Slices, gathered places and triangles, against numpy and onnxruntime; indices outside are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.indexing import ROWS, Gather, GatherND, Slice, Trilu
from tests.graph.cases import check_case, named, same
from tests.graph.graphs import Array, constant, model, normal, one

node = helper.make_node


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("indices", [np.array(-1), np.array([2, 0, -2]), np.array([[1, -1], [0, 0]])])
def test_gathered_places_are_numpy_s(axis: int, indices: Array) -> None:
    x = normal(5, 4, 6)
    found = Gather(axis, tuple(indices.flatten().tolist()), indices.shape)(torch.from_numpy(x))
    assert np.array_equal(found.numpy(), np.take(x, indices, axis))


def test_places_of_several_dimensions_are_numpy_s() -> None:
    x, places = normal(3, 4, 5), np.array([[[0, 1], [2, 3]], [[1, 0], [2, 0]]])
    numbers = tuple((places @ np.array([4, 1])).flatten().tolist())
    found = GatherND(2, numbers, (2, 2))(torch.from_numpy(x))
    assert np.array_equal(found.numpy(), x[places[..., 0], places[..., 1]])


@pytest.mark.parametrize(("k", "upper"), [(0, True), (1, False), (-2, True), (2, False)])
def test_a_triangle_is_numpy_s(k: int, upper: bool) -> None:
    x = normal(2, 4, 5)
    expected = np.triu(x, k) if upper else np.tril(x, k)
    assert np.array_equal(Trilu(k, upper)(torch.from_numpy(x)).numpy(), expected)
    same(one("Trilu", ("n", 4, 5), np.array(k), upper=int(upper)), 4, 5)


def test_a_slice_of_the_batch_mixes_images_unless_it_is_all_of_it() -> None:
    every = [np.array([at]) for at in (0, 2**31 - 1, 0, 1)]
    assert mixing(read(one("Slice", ("n", 4), *every))) == ()
    assert mixing(read(one("Slice", ("n", 4), *(np.array([at]) for at in (-1, -(2**31), 0, -1))))) != ()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (one("Gather", ("n", 4), np.array([4]), axis=1), "indices outside the 4 of axis 1"),
        (one("Gather", ("n", 4), np.array([-5]), axis=1), "indices outside the 4 of axis 1"),
        (one("GatherND", (3, 4), np.array([[3]])), r"indices outside \[3\]"),
        (one("Split", ("n", 4), np.array([2, 1]), axis=1), "split into"),
    ],
)
def test_places_that_are_not_there(file: onnx.ModelProto, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(file)


def strided(start: int = 0, row: int = 6, column: int = 2, times: int = 1) -> onnx.ModelProto:
    """From the values of all images in a row, the places (start, start + column) of each."""
    nodes = [
        node("Reshape", ["x", "left"], ["flat"]),
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "zero"], ["n"], axis=0),
        node("Mul", ["n", "times"], ["rows"]),
        node("Range", ["zero", "rows", "one"], ["images"]),
        node("Mul", ["images", "row"], ["starts"]),
        node("Unsqueeze", ["starts", "last"], ["column"]),
        node("Add", ["column", "places"], ["indices"]),
        node("Gather", ["flat", "indices"], ["y"], axis=0),
    ]
    numbers = {"zero": 0, "one": 1, "row": row, "times": times}
    lists = {"left": [-1], "last": [1], "places": [start, start + column]}
    constants = [constant(name, np.array(value, np.int64)) for name, value in (numbers | lists).items()]
    return model(nodes, ("n", 2, 3), constants)


def test_a_strided_view_of_all_images_takes_the_same_places_of_each() -> None:
    for start, column in ((0, 2), (3, -1), (5, 0)):
        same(strided(start, column=column), 2, 3)


@pytest.mark.parametrize(
    "file", [strided(row=5), strided(row=7), strided(start=5), strided(start=-1), strided(times=2)]
)
def test_a_view_that_goes_from_one_image_into_another_is_refused(file: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match="Gather"):
        read(file)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_a_slice_is_numpy_s(axis: int, step: int) -> None:
    x: Array = normal(5, 4, 6)
    for start in (-9, -2, 0, 1, 9):
        for end in (-(2**31), -9, -1, 0, 3, 2**31 - 1):
            expected = x[(slice(None),) * (axis % 3) + (slice(start, end, step),)]
            found = Slice((axis,), (start,), (end,), (step,))(torch.from_numpy(x))
            assert np.array_equal(found.numpy(), expected)
