"""Which folded constants are the runtime's own to the last bit."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.artefact.classifier_to_onnx import trace
from harden.graph import read
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from tests.graph.graphs import Array, constant, model, normal, run

node = helper.make_node


def folding(nodes: list[onnx.NodeProto], **constants: Array) -> onnx.ModelProto:
    """A file that adds a constant `w`, computed by some nodes, to images (8, 8)."""
    tensors = [constant(name, array) for name, array in constants.items()]
    return model([*nodes, node("Add", ["x", "w"], ["y"])], ("n", 8, 8), tensors)


A, B = normal(8, 8), normal(8, 8, seed=1)
EXACT = {
    "moved": folding(
        [
            node("Transpose", ["a"], ["t"]),
            node("Concat", ["t", "b"], ["c"], axis=0),
            node("Split", ["c"], ["s", "other"], axis=0, num_outputs=2),
            node("Neg", ["s"], ["w"]),
        ],
        a=A,
        b=B,
    ),
    "multiplied once": folding([node("Mul", ["a", "b"], ["w"])], a=A, b=B),
    "divided once, moved": folding(
        [node("Div", ["a", "b"], ["d"]), node("Transpose", ["d"], ["w"])], a=A, b=B
    ),
    "an integer's": folding(
        [node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0)],
        q=np.arange(64, dtype=np.int8).reshape(8, 8),
        s=np.abs(normal(8)),
        z=np.arange(8, dtype=np.int8),
    ),
    "widened": folding([node("Cast", ["a"], ["w"], to=1)], a=A.astype(np.float16)),
}
ROUNDED = {
    "a product and a sum, which may be one": folding(
        [node("Mul", ["a", "b"], ["m"]), node("Sub", ["m", "a"], ["w"])], a=A, b=B
    ),
    "a sum in any order": folding([node("MatMul", ["a", "b"], ["w"])], a=A, b=B),
    "a function": folding([node("Exp", ["a"], ["w"])], a=A),
    "a mean, moved": folding(
        [node("ReduceMean", ["a", "k"], ["m"]), node("Expand", ["m", "eights"], ["w"])],
        a=A,
        k=np.array([0], np.int64),
        eights=np.array([8, 8], np.int64),
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_counts_as_exact_is_the_runtime_s_to_the_last_bit(name: str) -> None:
    zeros = np.zeros((2, 8, 8), np.float32)
    assert np.array_equal(read(EXACT[name]).run(torch.from_numpy(zeros)).numpy(), run(EXACT[name], zeros))


@pytest.mark.parametrize("name", EXACT)
def test_exact_constants_are_not_named(name: str) -> None:
    assert read(EXACT[name]).rounded == frozenset()


@pytest.mark.parametrize("name", ROUNDED)
def test_constants_on_which_runtimes_differ_are_named(name: str) -> None:
    assert read(ROUNDED[name]).rounded == {"w"}


def test_a_difference_that_is_all_rounding_is_named() -> None:
    """The trap: the runtime's own weight is another altogether."""
    long, wide = normal(8, 512), normal(512, 8)
    file = folding(
        [node("MatMul", ["a", "b"], ["p"]), node("Sub", ["p", "m"], ["d"]), node("Mul", ["d", "big"], ["w"])],
        a=long,
        b=wide,
        m=(long.astype(np.float64) @ wide.astype(np.float64)).astype(np.float32),
        big=np.array(1e6, np.float32),
    )
    assert read(file).rounded == {"w"}


def test_a_constant_that_only_gives_sizes_or_that_nobody_needs_is_not_named() -> None:
    nodes = [
        node("MatMul", ["a", "a"], ["m"]),
        node("Add", ["x", "m"], ["dead"]),
        node("Shape", ["m"], ["eights"]),
        node("Expand", ["one", "eights"], ["w"]),
    ]
    assert read(folding(nodes, a=A, one=np.ones(1, np.float32))).rounded == frozenset()


def test_an_export_of_ours_holds_none() -> None:
    assert read(trace(Classifier(small_cnn(1, 10, 8)), (1, 8, 8))).rounded == frozenset()
