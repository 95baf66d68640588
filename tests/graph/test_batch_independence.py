"""Files that do something with their batch are seen, and no others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.artefact.classifier_to_onnx import trace
from harden.graph import BATCH, GraphNetwork, mixing, read
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from tests.graph.cases import CASES
from tests.graph.graphs import constant, model, normal, run

node = helper.make_node


def ints(name: str, *values: int) -> onnx.TensorProto:
    return constant(name, np.array(values, np.int64))


def logits(
    *nodes: onnx.NodeProto, batch: int | str = "n", more: tuple[onnx.TensorProto, ...] = ()
) -> onnx.ModelProto:
    """A file of images (4,) with a dense layer at the end."""
    nodes_ = [*nodes, node("MatMul", ["d", "v"], ["y"], name="dense")]
    return model(nodes_, (batch, 4), [constant("v", normal(4, 3)), ints("first", 0), *more])


MIXING = {
    "the batch turned round": logits(
        node("Slice", ["x", "last", "end", "first", "back"], ["d"]),
        more=(ints("last", -1), ints("end", -(2**31)), ints("back", -1)),
    ),
    "images moved by one": logits(
        node("Pad", ["x", "pads"], ["d"]),
        more=(ints("pads", 1, 0, -1, 0),),
    ),
    "the first image taken away": logits(
        node("Slice", ["x", "first", "one", "first"], ["s"]),
        node("Sub", ["x", "s"], ["d"]),
        more=(ints("one", 1),),
    ),
    "centred over the batch": logits(
        node("ReduceMean", ["x", "first"], ["m"]),
        node("Sub", ["x", "m"], ["d"]),
    ),
    "softmax over the batch": logits(node("Softmax", ["x"], ["d"], axis=0)),
    "images beside each other": logits(
        node("Transpose", ["x"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["square"]),
        node("MatMul", ["square", "x"], ["d"]),
    ),
    "values of all images in another order": logits(
        node("Transpose", ["x"], ["t"], perm=[1, 0]),
        node("Reshape", ["t", "rows"], ["d"]),
        more=(ints("rows", -1, 4),),
    ),
    "sums of products over the batch": logits(
        node("Einsum", ["x", "x"], ["square"], equation="ni,nj->ij"),
        node("MatMul", ["x", "square"], ["d"]),
    ),
    "cumulated over the batch": logits(
        node("CumSum", ["x", "zero"], ["d"]), more=(constant("zero", np.array(0)),)
    ),
    "a batch of three, each with an offset of its own": logits(
        node("Add", ["x", "c"], ["d"]), batch=3, more=(constant("c", normal(3, 4)),)
    ),
    "a batch of three, multiplied from the left": logits(
        node("MatMul", ["c", "x"], ["d"]), batch=3, more=(constant("c", normal(3, 3)),)
    ),
    "a batch of three in another order": logits(
        node("Gather", ["x", "order"], ["d"], axis=0), batch=3, more=(ints("order", 2, 0, 1),)
    ),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_file_that_mixes_its_images_is_seen_and_runs_as_in_the_runtime(name: str) -> None:
    file = MIXING[name]
    graph = read(file)
    assert mixing(graph)
    x = normal(3, 4, seed=5)
    found = graph.run(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, run(file, x), rtol=1e-4, atol=1e-5)
    # The premise: an image's logits do change with the others.
    other = x.copy()
    other[0] += 1
    alone = graph.run(torch.from_numpy(other)).numpy()
    assert np.abs(alone[1:] - found[1:]).max() > 1e-3 or "offset" in name


@pytest.mark.parametrize("name", [name for name in CASES if name != "Slice without axes"])  # of the batch too
def test_where_no_mixing_is_seen_there_is_none(name: str) -> None:
    file, shape = CASES[name]
    graph = read(file)
    assert not mixing(graph)
    x = torch.from_numpy(normal(3, *shape, seed=7))
    together = graph.run(x)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(graph.run(x[order]), together[order], rtol=1e-5, atol=1e-6)


def test_a_classifier_of_ours_keeps_its_images_apart() -> None:
    assert mixing(read(trace(Classifier(small_cnn(1, 10, 8)), (1, 8, 8)))) == ()


def test_rows_of_an_image_are_no_images() -> None:
    """A multiple of the batch shows in the shape, so that nobody takes its rows for images."""
    file = logits(
        node("Reshape", ["x", "pairs"], ["p"]),
        node("Relu", ["p"], ["r"]),
        node("Reshape", ["r", "rows"], ["d"]),
        more=(ints("pairs", -1, 2), ints("rows", -1, 4)),
    )
    graph = read(file)
    assert [each.shape for each in graph.nodes] == [(2 * BATCH, 2), (2 * BATCH, 2), (BATCH, 4), (BATCH, 3)]
    assert [each.output for each in mixing(graph)] == ["p", "r", "d"]
    x = normal(3, 4)
    np.testing.assert_allclose(graph.run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_images_apart_run_at_once_whatever_batch_the_file_fixes(size: int) -> None:
    apart = logits(node("Relu", ["x"], ["d"]), batch=size)
    seen: list[int] = []
    network = GraphNetwork(read(apart))
    network.output.register_forward_hook(lambda module, given, found: seen.append(len(found)))
    x = torch.from_numpy(normal(5, 4))
    expected = x.relu() @ torch.from_numpy(normal(4, 3))
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-6)
    assert seen == [5]
    assert network._at_once


def test_images_that_meet_run_in_the_file_s_own_batches() -> None:
    network = GraphNetwork(read(MIXING["a batch of three, each with an offset of its own"]))
    assert not network._at_once
    x = torch.from_numpy(normal(6, 4))
    offsets = torch.from_numpy(np.concatenate([normal(3, 4)] * 2))
    expected = (x + offsets) @ torch.from_numpy(normal(4, 3))
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


def test_a_token_that_the_file_holds_for_one_image_is_not_stacked() -> None:
    nodes = [node("Concat", ["token", "x"], ["a"], axis=1), node("Flatten", ["a"], ["y"])]
    network = GraphNetwork(read(model(nodes, (1, 2, 3), [constant("token", normal(1, 1, 3))])))
    assert not network._at_once
    assert network(torch.zeros(4, 2, 3)).shape == (4, 9)
