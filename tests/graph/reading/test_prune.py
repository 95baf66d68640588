"""What of a file is read, under which name, and what must never be computed while reading."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.errors import InputError
from harden.graph import read
from tests.graph.graphs import constant, model, normal, run

node = helper.make_node
FOUR = constant("four", np.array([4], np.int64))


def same(file: onnx.ModelProto, *shape: int) -> None:
    for batch in (1, 3, 5):
        x = normal(batch, *shape, seed=batch)
        np.testing.assert_allclose(read(file).run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-5)


def test_what_the_logits_do_not_need_may_be_anything() -> None:
    nodes = [
        node("Det", ["x"], ["d"]),
        node("RandomNormalLike", ["d"], ["e"]),
        node("Relu", ["x"], ["y"]),
    ]
    file = model(nodes, ("n", 3, 3))
    assert [each.kind for each in read(file).nodes] == ["Relu"]
    same(file, 3, 3)


@pytest.mark.parametrize("name", ["a", "x", "c"])
def test_a_value_given_twice_has_no_meaning(name: str) -> None:
    nodes = [node("Relu", ["x"], ["a"]), node("Add", ["x", "c"], [name]), node("Neg", [name], ["y"])]
    with pytest.raises(InputError, match=f"'{name}' twice; expected one value for each name"):
        read(model(nodes, ("n", 4), [constant("c", normal(4))]))


@pytest.mark.parametrize("names", [("e.once", "e.each"), ("e.each", "e.once'"), ("f", "e.each'")])
def test_a_file_may_use_the_names_that_the_reader_would(names: tuple[str, str]) -> None:
    one, other = names
    nodes = [
        node("Shape", ["x"], ["s"], start=0, end=1),
        node("Concat", ["s", "four"], ["t"], axis=0),
        node("Expand", ["row", "t"], ["e"]),
        node("Relu", ["x"], [one]),
        node("Add", ["e", one], ["g"]),
        node("Neg", ["x"], [other]),
        node("Add", ["g", other], ["h"]),
        node("Add", ["h", "e"], ["y"]),
    ]
    file = model(nodes, ("n", 4), [FOUR, constant("row", normal(1, 4))])
    assert [each.kind for each in read(file).nodes].count("Expand") == 1
    same(file, 4)


def test_a_constant_is_not_dropped_at_random() -> None:
    nodes = [node("Dropout", ["c", "half", "yes"], ["d"]), node("Add", ["x", "d"], ["y"])]
    constants = [constant("c", normal(4)), constant("half", np.array(0.5, np.float32))]
    with pytest.raises(InputError, match=r"Dropout \(training_mode=1\) in d"):
        read(model(nodes, ("n", 4), [*constants, constant("yes", np.array(True))]))
    same(model(nodes, ("n", 4), [*constants, constant("yes", np.array(False))]), 4)


def test_control_flow_is_refused_even_where_it_is_decided() -> None:
    out = helper.make_tensor_value_info("o", 1, None)
    branch = helper.make_graph([node("Constant", [], ["o"], value=constant("v", normal(4)))], "b", [], [out])
    nodes = [
        node("If", ["yes"], ["c"], then_branch=branch, else_branch=branch),
        node("Add", ["x", "c"], ["y"]),
    ]
    with pytest.raises(InputError, match=r"If \(control flow\) in c"):
        read(model(nodes, ("n", 4), [constant("yes", np.array(True))]))


def test_a_shape_by_the_number_of_all_values() -> None:
    nodes = [
        node("Size", ["x"], ["all"]),
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Div", ["all", "n"], ["each"]),
        node("Unsqueeze", ["each", "axis"], ["each1"]),
        node("Concat", ["left", "each1"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = [
        constant("zero", np.array(0, np.int64)),
        constant("axis", np.array([0], np.int64)),
        constant("left", np.array([-1], np.int64)),
    ]
    file = model(nodes, ("n", 2, 3), constants)
    assert len(read(file).nodes) == 1
    same(file, 2, 3)


def test_a_row_of_all_images_is_not_expanded_to_one_row() -> None:
    """The sum over the batch of such rows is N times one, and was once it alone."""
    nodes = [
        node("ReduceMean", ["x", "first"], ["m"]),
        node("Shape", ["x"], ["s"]),
        node("Expand", ["m", "s"], ["e"]),
        node("ReduceSum", ["e", "first"], ["r"]),
        node("Add", ["x", "r"], ["y"]),
    ]
    with pytest.raises(InputError, match="no batch of its own"):
        read(model(nodes, ("n", 4), [constant("first", np.array([0], np.int64))]))


def test_an_expansion_by_numbers_in_a_file_for_one_image() -> None:
    nodes = [
        node("Squeeze", ["x", "first"], ["v"]),
        node("Expand", ["v", "shape"], ["y"]),
    ]
    constants = [constant("first", np.array([0], np.int64)), constant("shape", np.array([1, 4], np.int64))]
    file = model(nodes, (1, 4), constants)
    x = normal(1, 4)
    assert np.array_equal(read(file).run(torch.from_numpy(x)).numpy(), run(file, x))
