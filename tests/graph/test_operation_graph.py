"""Nodes that are read as several operations, and how a graph runs."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import torch
from onnx import helper
from torch import Tensor, nn
from torchvision.ops import Permute

from harden.artefact.classifier_to_onnx import trace
from harden.graph import Graph, GraphNetwork, Node, Port, mixing, read
from harden.graph.operators.rectifiers import Relu
from harden.models import Classifier
from tests.graph.cases import CASES, same
from tests.graph.graphs import model, normal, run

node = helper.make_node


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


def test_a_graph_runs_in_float64_on_constants_of_that_type() -> None:
    file, shape = CASES["Conv plain"]
    graph = read(file)
    x = torch.from_numpy(normal(2, *shape)).double()
    found = graph.run(x, {name: each.double() for name, each in graph.constants.items()})
    assert found.dtype == torch.float64
    assert float((found - graph.run(x.float())).abs().max()) < 1e-5
