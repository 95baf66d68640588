"""onnxruntime's own operators in ONNX's own: the same numbers in onnxruntime, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from harden.graph import UnreadableError
from harden.graph.executed.contrib_operators import standard_form
from harden.graph.executed.nchwc_layout import StoredWeights
from tests.graph.graphs import Array, constant, model, normal, run

Case = tuple[str, tuple[int, ...], list[Array], dict[str, Any]]
CASES: dict[str, Case] = {
    "product": ("FusedMatMul", (3, 4), [normal(4, 5)], {}),
    "scaled product": ("FusedMatMul", (4,), [normal(4, 5)], {"alpha": 0.5}),
    "transposed product": ("FusedMatMul", (3, 4), [normal(5, 4)], {"transB": 1}),
    "dense and ReLU": ("FusedGemm", (4,), [normal(4, 5), normal(5)], {"activation": "Relu"}),
    "dense, scaled": (
        "FusedGemm",
        (4,),
        [normal(4, 5), normal(5)],
        {"activation": "LeakyRelu", "activation_alpha": 0.25, "alpha": 2.0, "beta": 0.5},
    ),
    "convolution and tanh": ("FusedConv", (2, 5, 5), [normal(3, 2, 3, 3), normal(3)], {"activation": "Tanh"}),
    "convolution and clip": (
        "FusedConv",
        (2, 5, 5),
        [normal(3, 2, 3, 3)],
        {"activation": "Clip", "activation_params": [-0.5, 0.5]},
    ),
    "gelu": ("Gelu", (5,), [], {}),
    "gelu of a sum": ("BiasGelu", (3, 5), [normal(5)], {}),
    "gelu by tanh": ("FastGelu", (5,), [], {}),
    "gelu by tanh of a sum": ("FastGelu", (3, 5), [normal(5)], {}),
    "quick gelu": ("QuickGelu", (5,), [], {}),
    "quick gelu, steeper": ("QuickGelu", (5,), [], {"alpha": 2.0}),
}


def contrib(kind: str, shape: tuple[int, ...], inputs: list[Array], **attributes: Any) -> onnx.ModelProto:
    """A file of one operator of onnxruntime's own, with the opset in which Gelu is ONNX's too."""
    constants = [constant(f"c{at}", each) for at, each in enumerate(inputs)]
    names = ["x", *(each.name for each in constants)]
    node = helper.make_node(kind, names, ["y"], name="the node", domain="com.microsoft", **attributes)
    file = model([node], ("n", *shape), constants, opset=20)
    file.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return file


@pytest.mark.parametrize("name", CASES)
def test_the_standard_form_computes_the_same(name: str) -> None:
    kind, shape, inputs, attributes = CASES[name]
    file, x = contrib(kind, shape, inputs, **attributes), 2 * normal(3, *shape, seed=9)
    standard = standard_form(file, StoredWeights())
    assert all(node.domain == "" for node in standard.graph.node)
    assert [opset.domain for opset in standard.opset_import] == [""]
    np.testing.assert_allclose(run(standard, x), run(file, x), rtol=1e-4, atol=1e-5)


def test_a_gemm_with_a_value_is_a_product_and_a_sum() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["x", "w", "a"], ["y"]),
    ]
    file, x = model(nodes, ("n", 4), [constant("w", normal(4, 4))]), normal(3, 4)
    standard = standard_form(file, StoredWeights())
    assert [node.op_type for node in standard.graph.node] == ["Gemm", "Gemm", "Add"]
    np.testing.assert_allclose(run(standard, x), run(file, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "attributes", "said"),
    [
        ("BiasSoftmax", {"axis": 1, "is_inner_broadcast": 0}, r"BiasSoftmax of com\.microsoft \(no form"),
        ("FusedMatMul", {"transA": 1}, r"FusedMatMul of com\.microsoft \(a transposed value\)"),
        ("FusedGemm", {"activation": "Softplus"}, r"\(the activation Softplus\) in 'the node'"),
    ],
)
def test_what_has_no_form_is_refused_by_name(kind: str, attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(UnreadableError, match=said) as caught:
        standard_form(contrib(kind, (4,), [normal(4, 4)], **attributes), StoredWeights())
    assert "\n" not in str(caught.value)
