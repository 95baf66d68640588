from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from harden.certificate.graph_digest import graph_digest, graph_digest_bytes, graph_digest_file
from harden.errors import InputError

WEIGHT = np.linspace(-1, 1, 18, dtype=np.float32).reshape(9, 2)


def build(weight: TensorProto | None = None, *, axis: int = 1, opset: int = 18) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 3, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=axis),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], alpha=1.0, transB=0),
    ]
    stored = [weight or numpy_helper.from_array(WEIGHT, "weight"), numpy_helper.from_array(WEIGHT[0], "bias")]
    graph = helper.make_graph(nodes, "net", [image], [logits], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_a_re_encoding_keeps_it(tmp_path: Path) -> None:
    digest = graph_digest(build())
    other = build(helper.make_tensor("weight", TensorProto.FLOAT, [9, 2], WEIGHT.ravel().tolist()))
    assert other.graph.initializer[0].float_data
    first, second = other.graph.initializer
    swapped = [onnx.TensorProto.FromString(t.SerializeToString()) for t in (second, first)]
    del other.graph.initializer[:]
    other.graph.initializer.extend(swapped)
    other.producer_name = "someone"
    other.doc_string = "words"
    other.opset_import[0].domain = "ai.onnx"
    other.graph.node[0].name = "a name"
    attributes = [
        onnx.AttributeProto.FromString(a.SerializeToString()) for a in other.graph.node[1].attribute
    ]
    del other.graph.node[1].attribute[:]
    other.graph.node[1].attribute.extend(reversed(attributes))
    onnx.save(other, tmp_path / "m.onnx")
    assert graph_digest_file(tmp_path / "m.onnx") == digest


@settings(deadline=None)
@given(st.integers(0, WEIGHT.nbytes * 8 - 1))
def test_one_flipped_weight_bit_loses_it(bit: int) -> None:
    data = bytearray(WEIGHT.tobytes())
    data[bit // 8] ^= 1 << (bit % 8)
    flipped = numpy_helper.from_array(np.frombuffer(bytes(data), np.float32).reshape(9, 2), "weight")
    assert graph_digest(build(flipped)) != graph_digest(build())


def test_every_part_of_the_content_counts() -> None:
    renamed, retyped, reshaped, reordered, rewired = (build() for _ in range(5))
    renamed.graph.input[0].name = "picture"
    retyped.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    reshaped.graph.initializer[0].dims[:] = [2, 9]
    reordered.graph.node.reverse()
    rewired.graph.node[1].input[2] = ""
    models = [build(), build(axis=2), build(opset=19), renamed, retyped, reshaped, reordered, rewired]
    assert len({graph_digest(model) for model in models}) == len(models)


def test_subgraphs_and_all_attribute_types_are_covered() -> None:
    seen = set()
    for value in (1, 1.0, "s", [1, 2], [1.0, 2.0], ["a", "b"], WEIGHT, build().graph, build(axis=0).graph):
        model = build()
        stored = numpy_helper.from_array(value, "t") if isinstance(value, np.ndarray) else value
        model.graph.node[0].attribute.append(helper.make_attribute("more", stored))
        seen.add(graph_digest(model))
    assert len(seen) == 9


def test_what_it_does_not_cover_is_refused() -> None:
    external, sparse = build(), build()
    external.graph.initializer[0].data_location = TensorProto.EXTERNAL
    sparse.graph.sparse_initializer.add()
    for model in (external, sparse):
        with pytest.raises(InputError, match="the graph holds"):
            graph_digest(model)
    with pytest.raises(InputError, match="does not parse"):
        graph_digest_bytes(b"\xff\xff\xff")
