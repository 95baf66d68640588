"""BatchNorms folded into the layer before them: the same logits, on weights that change too."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.graph import Graph, read
from harden.graph.absorb_batchnorm import absorb_batchnorms
from harden.graph.operators.affine_layers import BatchNormalization
from tests.graph.graphs import Array, constant, model, normal

node = helper.make_node
NORM = ["s", "t", "m", "v"]
STATISTICS = [constant(name, np.abs(normal(4, seed=at)) + np.float32(0.1)) for at, name in enumerate(NORM)]
MATRIX = normal(5, 4)
LAYERS: dict[str, tuple[tuple[int, ...], str, list[Array], dict[str, Any]]] = {
    "conv": ((2, 5, 5), "Conv", [normal(4, 2, 3, 3), normal(4, seed=5)], {"strides": [2, 1]}),
    "conv without a bias": ((2, 5, 5), "Conv", [normal(4, 1, 3, 3)], {"group": 2}),
    "dense": ((5,), "Gemm", [MATRIX, normal(4, seed=5)], {"alpha": 2.0, "beta": 3.0}),
    "dense, transposed": ((5,), "Gemm", [MATRIX.T.copy(), normal(4, seed=5)], {"transB": 1}),
    "dense without a bias": ((5,), "Gemm", [MATRIX], {}),
}


def layered(name: str, *more: onnx.NodeProto, output: str = "y") -> tuple[Graph, tuple[int, ...]]:
    """A layer and a BatchNorm, and what follows."""
    shape, kind, weights, attributes = LAYERS[name]
    constants = [constant(f"w{at}", each) for at, each in enumerate(weights)]
    nodes = [
        node(kind, ["x", *(each.name for each in constants)], ["a"], **attributes),
        node("BatchNormalization", ["a", *NORM], ["y"], epsilon=1e-3),
        *more,
    ]
    return read(model(nodes, ("n", *shape), [*constants, *STATISTICS], output=output)), shape


def norms(graph: Graph) -> int:
    return sum(isinstance(each.operation, BatchNormalization) for each in graph.nodes)


@pytest.mark.parametrize("name", LAYERS)
def test_the_logits_are_the_same_without_the_norm(name: str) -> None:
    graph, shape = layered(name)
    found, x = absorb_batchnorms(graph), torch.from_numpy(normal(3, *shape, seed=9))
    assert (norms(graph), norms(found)) == (1, 0)
    torch.testing.assert_close(found.run(x), graph.run(x), rtol=1e-4, atol=1e-5)
    assert set(graph.constants) <= set(found.constants)


@pytest.mark.parametrize("name", LAYERS)
def test_derived_weights_follow_those_that_change(name: str) -> None:
    graph, shape = layered(name)
    found, x = absorb_batchnorms(graph), torch.from_numpy(normal(3, *shape, seed=9))
    moved = {key: (1.5 * each).requires_grad_() for key, each in graph.constants.items()}
    values = dict(moved)
    for each in found.derived:
        values[each.output] = each.operation(*(values[key] for key in each.inputs))
    logits, expected = found.run(x, values), graph.run(x, moved)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    ours, theirs = (
        torch.autograd.grad(each.square().sum(), list(moved.values())) for each in (logits, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-2)


def test_a_layer_that_is_read_twice_keeps_its_norm() -> None:
    graph, shape = layered("conv", node("Add", ["a", "y"], ["z"]), output="z")
    found, x = absorb_batchnorms(graph), torch.from_numpy(normal(3, *shape, seed=9))
    assert norms(found) == 1
    assert found.derived == ()
    assert torch.equal(found.run(x), graph.run(x))


def test_a_norm_behind_anything_else_stays() -> None:
    nodes = [node("Relu", ["x"], ["a"]), node("BatchNormalization", ["a", *NORM], ["y"])]
    graph = read(model(nodes, ("n", 4, 3), STATISTICS))
    assert [each.kind for each in absorb_batchnorms(graph).nodes] == ["Relu", "BatchNormalization"]
