"""Places that a file reads with the batch behind them are read with the batch in front, and are the same."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.graph import mixing, read
from harden.graph.operators.indexing import GatherND
from tests.graph.graphs import constant, model, normal, run

SHAPE = (3, 4, 5)


def indexed(axes: tuple[int, ...], places: np.ndarray, last: list[int] | None = None) -> onnx.ModelProto:
    """x[:, ..., places, ...] as torch exports it: what is indexed first, then GatherND, then back."""
    rest = [axis for axis in range(4) if axis not in axes]
    count = places.ndim - 1
    back = [count, *range(count), *range(count + 1, count + len(rest))] if last is None else last
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[*axes, *rest]),
        helper.make_node("GatherND", ["a", "places"], ["b"]),
        helper.make_node("Transpose", ["b"], ["y"], perm=back),
    ]
    return model(nodes, ("n", *SHAPE), [constant("places", places.astype(np.int64))])


@pytest.mark.parametrize("seed", range(24))
def test_places_are_read_for_each_image(seed: int) -> None:
    draw = random.Random(seed)
    axes = tuple(draw.sample([1, 2, 3], draw.randint(1, 3)))
    shape = draw.choice([(3,), (2, 2), (1, 4, 2)])
    places = np.stack([np.random.default_rng(seed).integers(-3, 3, shape) for _ in axes], -1)
    file = indexed(axes, places)
    graph, x = read(file), normal(3, *SHAPE, seed=seed)
    assert not any(isinstance(node.operation, GatherND) for node in graph.nodes)
    assert mixing(graph) == ()
    assert np.array_equal(graph.run(torch.from_numpy(x)).numpy(), run(file, x))
    assert graph.output.shape == (-1, *run(file, x).shape[1:])


def test_a_transposition_that_others_read_too_is_kept_for_them() -> None:
    file = indexed((2,), np.array([[1], [0]]))
    file.graph.node[2].output[0] = "c"
    file.graph.node.extend(
        [
            helper.make_node("Transpose", ["a"], ["d"], perm=[1, 2, 0, 3]),
            helper.make_node("ReduceSum", ["d"], ["e"], keepdims=1),
            helper.make_node("Mul", ["c", "e"], ["y"]),
        ]
    )
    graph, x = read(file), normal(3, *SHAPE)
    np.testing.assert_allclose(graph.run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-4)


def test_what_moves_the_batch_otherwise_is_run_and_not_taken_for_apart() -> None:
    """The places of the batch itself: image i of what comes out is another's."""
    nodes = [helper.make_node("GatherND", ["x", "places"], ["y"])]
    file = model(nodes, (3, 4), [constant("places", np.array([[2], [0], [1]]))])
    graph, x = read(file), normal(3, 4)
    assert np.array_equal(graph.run(torch.from_numpy(x)).numpy(), run(file, x))
    assert [node.kind for node in mixing(graph)] == ["GatherND"]
