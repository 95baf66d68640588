"""Nodes that are read as several operations, and how a graph runs."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn
from torchvision.ops import Permute

from harden.artefact.classifier_to_onnx import trace
from harden.errors import InputError
from harden.graph import Graph, GraphNetwork, Node, Port, mixing, read
from harden.graph.operators.indexing import Slice
from harden.graph.operators.rectifiers import Relu
from harden.models import Classifier
from tests.graph.graphs import Array, constant, model, normal, one, run

node = helper.make_node


def same(file: onnx.ModelProto, *shape: int) -> None:
    graph = read(file)
    for batch in (1, 3, 5):
        x = normal(batch, *shape, seed=batch)
        np.testing.assert_allclose(graph.run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("opset", "axis"), [(7, 1), (7, 2), (11, 1), (11, -2), (12, 2), (12, 3)])
def test_softmax_before_opset_13_is_over_all_dimensions_from_its_axis_on(opset: int, axis: int) -> None:
    file = one("Softmax", ("n", 4, 3, 2), axis=axis, opset=opset)
    same(file, 4, 3, 2)
    sums = read(file).run(torch.from_numpy(normal(2, 4, 3, 2))).flatten(axis % 4).sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))


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


def test_pooling_after_channels_last_is_read() -> None:
    """As in ConvNeXt and Swin, whose export holds such a view."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 2, stride=2),
        Permute([0, 2, 3, 1]),
        nn.LayerNorm(6),
        nn.GELU(),
        Permute([0, 3, 1, 2]),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )
    twin = Classifier(network.eval())
    file = trace(twin, (3, 8, 8))
    assert "as_strided" in {name for each in file.graph.node for name in each.output}
    x = torch.rand(3, 3, 8, 8)
    found = GraphNetwork(read(file))(x)
    np.testing.assert_allclose(found.detach().numpy(), run(file, x.numpy()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, twin.logits(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_a_slice_is_numpy_s(axis: int, step: int) -> None:
    x: Array = normal(5, 4, 6)
    for start in (-9, -2, 0, 1, 9):
        for end in (-(2**31), -9, -1, 0, 3, 2**31 - 1):
            expected = x[(slice(None),) * (axis % 3) + (slice(start, end, step),)]
            found = Slice((axis,), (start,), (end,), (step,))(torch.from_numpy(x))
            assert np.array_equal(found.numpy(), expected)


def test_a_value_is_let_go_when_nothing_needs_it_any_more() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def watched(x: Tensor) -> Tensor:
        gc.collect()
        assert sum(each() is not None for each in alive) <= 1
        found = x + 1
        alive.append(weakref.ref(found))
        return found

    names = ["x", "a", "b", "c", "y"]
    pairs = itertools.pairwise(names)
    nodes = tuple(Node(watched, (before,), after, (-1, 2), after, "Add") for before, after in pairs)
    graph = Graph(Port("x", (-1, 2)), Port("y", (-1, 2)), nodes, {})
    assert graph.run(torch.zeros(3, 2)).tolist() == [[4, 4]] * 3


def test_a_value_that_is_needed_later_and_twice_is_kept() -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Add", ["a", "a"], ["b"]),
        node("Neg", ["b"], ["c"]),
        node("Add", ["c", "a"], ["d"]),
        node("Mul", ["d", "x"], ["y"]),
    ]
    same(model(nodes, ("n", 4)), 4)


def test_an_operation_that_separation_does_not_know_is_not_trusted() -> None:
    twice = Node(lambda x, y: x + y.flip(0), ("x", "x"), "y", (-1, 2), "strange", "Strange")
    assert mixing(Graph(Port("x", (-1, 2)), Port("y", (-1, 2)), (twice,), {})) == (twice,)
    alone = Node(lambda x: x.flip(0), ("x",), "y", (-1, 2), "strange", "Strange")
    assert mixing(Graph(Port("x", (-1, 2)), Port("y", (-1, 2)), (alone,), {})) == (alone,)
    relu = Node(Relu(), ("x",), "y", (-1, 2), "", "Relu")
    assert mixing(Graph(Port("x", (-1, 2)), Port("y", (-1, 2)), (relu,), {})) == ()
