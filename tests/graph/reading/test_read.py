"""What a file may look like: layouts, shapes that follow the batch, and encodings that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.graph import BATCH, GraphNetwork, read
from harden.graph.operators.reshaping import Expand, Reshape
from tests.graph.graphs import Array, constant, model, normal, run

node = helper.make_node


def small(shape: tuple[int | str, ...] = ("n", 2, 5, 5)) -> onnx.ModelProto:
    """A convolution, a BatchNorm, ReLU, a reshape by computed sizes, a dense layer."""
    constants = [
        constant("w", normal(3, 2, 3, 3)),
        constant("b", normal(3)),
        *(constant(name, np.abs(normal(3, seed=at)) + 0.1) for at, name in enumerate(("s", "t", "m", "v"))),
        constant("w2", normal(27, 4)),
        constant("b2", normal(4)),
        constant("zero", np.array(0, np.int64)),
        constant("left", np.array([-1], np.int64)),
    ]
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], name="first"),
        node("BatchNormalization", ["a", "s", "t", "m", "v"], ["normed"]),
        node("Relu", ["normed"], ["r"]),
        node("Shape", ["r"], ["sizes"]),
        node("Gather", ["sizes", "zero"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "axis"], ["batch1"]),
        node("Concat", ["batch1", "left"], ["target"], axis=0),
        node("Reshape", ["r", "target"], ["flat"]),
        node("Gemm", ["flat", "w2", "b2"], ["y"], name="last"),
    ]
    constants.append(constant("axis", np.array([0], np.int64)))
    return model(nodes, shape, constants)


X = normal(6, 2, 5, 5, seed=9)


def logits(file: onnx.ModelProto, x: Array = X) -> Array:
    found: Array = GraphNetwork(read(file))(torch.from_numpy(x)).numpy()
    return found


def test_sizes_that_follow_the_batch_become_attributes() -> None:
    graph = read(small())
    assert [each.kind for each in graph.nodes] == ["Conv", "BatchNormalization", "Relu", "Reshape", "Gemm"]
    assert graph.nodes[3].operation == Reshape((BATCH, 27))
    assert (graph.input.shape, graph.output.shape) == ((BATCH, 2, 5, 5), (BATCH, 4))
    np.testing.assert_allclose(logits(small()), run(small(), X), rtol=1e-5, atol=1e-5)


def test_a_fixed_batch_takes_any_number_of_images() -> None:
    for size in (1, 4):
        file = small((size, 2, 5, 5))
        graph = read(file)
        assert graph.batch == size
        np.testing.assert_allclose(logits(file), logits(small()), rtol=1e-6, atol=1e-6)


def test_an_image_that_is_a_column() -> None:
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    file = model(nodes, (1, 8, 1), [constant("w", normal(8, 3))])
    graph = read(file)
    assert (graph.input.shape, graph.output.shape, graph.batch) == ((BATCH, 8, 1), (BATCH, 3), 1)
    x = normal(3, 8, 1)
    np.testing.assert_allclose(logits(file, x), x[:, :, 0] @ normal(8, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3])
def test_no_images_and_more_than_the_file_takes(size: int) -> None:
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    file = model(nodes, (size, 784, 1), [constant("w", normal(784, 10))])
    network = GraphNetwork(read(file))
    assert tuple(network(torch.zeros(0, 784, 1)).shape) == (0, 10)
    x = normal(7, 784, 1)
    expected = np.concatenate([run(file, np.repeat(row[None], size, 0))[:1] for row in x])
    np.testing.assert_allclose(network(torch.from_numpy(x)).numpy(), expected, rtol=1e-5, atol=1e-4)


def test_channels_last() -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]
    file = model(nodes, ("n", 5, 6, 2), [constant("w", normal(3, 2, 2, 2))])
    x = normal(2, 5, 6, 2)
    np.testing.assert_allclose(logits(file, x), run(file, x), rtol=1e-5, atol=1e-6)


def test_a_token_for_each_image() -> None:
    """As transformers have it: one row, expanded to the batch's size, before the others."""
    nodes = [
        node("Shape", ["x"], ["sizes"], start=0, end=1),
        node("Concat", ["sizes", "rest"], ["target"], axis=0),
        node("Expand", ["token", "target"], ["tokens"]),
        node("Concat", ["tokens", "x"], ["all"], axis=1),
        node("ReduceMean", ["all", "axes"], ["y"], keepdims=0),
    ]
    constants = [
        constant("rest", np.array([1, 4], np.int64)),
        constant("token", normal(1, 1, 4)),
        constant("axes", np.array([1], np.int64)),
    ]
    file = model(nodes, ("n", 3, 4), constants)
    assert any(isinstance(each.operation, Expand) for each in read(file).nodes)
    x = normal(4, 3, 4)
    np.testing.assert_allclose(logits(file, x), run(file, x), rtol=1e-5, atol=1e-6)


def test_constants_are_folded_and_dead_ends_dropped() -> None:
    nodes = [
        node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        node("Mul", ["wt", "two"], ["scaled"]),
        node("Relu", ["x"], ["nobody"]),
        node("Split", ["x"], ["left", "right"], axis=1, num_outputs=2),
        node("MatMul", ["left", "scaled"], ["y"]),
    ]
    file = model(nodes, ("n", 8), [constant("w", normal(3, 4)), constant("two", np.float32(2))])
    graph = read(file)
    assert [each.kind for each in graph.nodes] == ["Split", "MatMul"]
    assert set(graph.constants) == {"scaled"}
    x = normal(2, 8)
    np.testing.assert_allclose(logits(file, x), run(file, x), rtol=1e-5)


def renamed(file: onnx.ModelProto) -> None:
    for at, each in enumerate(file.graph.node):
        each.name = f"/weird name/{at}"
        for names in (each.input, each.output):
            names[:] = [f"my.{name}/β" if name not in ("x", "y") else name for name in names]
    for tensor in file.graph.initializer:
        tensor.name = f"my.{tensor.name}/β"


def as_lists(file: onnx.ModelProto) -> None:
    for tensor in file.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(helper.make_tensor(tensor.name, 1, array.shape, array.flatten().tolist()))


def as_nodes(file: onnx.ModelProto) -> None:
    kept = [node("Constant", [], [each.name], value=each) for each in file.graph.initializer]
    del file.graph.initializer[:]
    later = list(file.graph.node)
    del file.graph.node[:]
    file.graph.node.extend([*kept, *later])


def with_identity(file: onnx.ModelProto) -> None:
    last = file.graph.node[-1]
    last.output[0] = "before"
    file.graph.node.append(node("Identity", ["before"], ["y"]))


def with_inputs_for_constants(file: onnx.ModelProto) -> None:
    """As old files have it: every initialiser is an input too."""
    for tensor in file.graph.initializer:
        file.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )


@pytest.mark.parametrize("change", [renamed, as_lists, as_nodes, with_identity, with_inputs_for_constants])
def test_the_encoding_changes_no_bit(change: Callable[[onnx.ModelProto], None]) -> None:
    file = small()
    change(file)
    assert np.array_equal(logits(file), logits(small()))


def test_a_path_bytes_and_a_parsed_model_are_one(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "model.onnx")
    for given in (tmp_path / "model.onnx", str(tmp_path / "model.onnx"), small().SerializeToString()):
        assert torch.equal(read(given).run(torch.from_numpy(X)), read(small()).run(torch.from_numpy(X)))


def test_data_in_a_file_beside_it(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert torch.equal(
        read(tmp_path / "m.onnx").run(torch.from_numpy(X)), read(small()).run(torch.from_numpy(X))
    )


def test_reading_leaves_the_parsed_model_as_it_was() -> None:
    file = small()
    before = file.SerializeToString(deterministic=True)
    read(file)
    assert file.SerializeToString(deterministic=True) == before
