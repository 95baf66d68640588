"""Untrusted files that a runtime is not given: those whose cost can't be bounded by their size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harden.certificate.untrusted.onnx_limits import MOST_COPIES, MOST_NODES, check_runnable
from harden.errors import InputError

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]


def model(nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto] | None = None) -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("image", "logits")]
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "weight")
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], [weight])
    return helper.make_model(graph, opset_imports=OPSETS, functions=functions or [])


def plain() -> onnx.ModelProto:
    return model([helper.make_node("MatMul", ["image", "weight"], ["logits"])])


def doubling(depth: int) -> list[onnx.FunctionProto]:
    """F0 is one node, and each function calls the one before twice: 2^(depth - 1) nodes."""
    made = [helper.make_function("d", "F0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], OPSETS)]
    for level in range(1, depth):
        calls = [
            helper.make_node(f"F{level - 1}", [source], [target], domain="d")
            for source, target in (("a", "c"), ("c", "b"))
        ]
        made.append(helper.make_function("d", f"F{level}", ["a"], ["b"], calls, OPSETS))
    return made


def refused(made: onnx.ModelProto) -> str:
    with pytest.raises(InputError) as caught:
        check_runnable(made.SerializeToString())
    assert "\n" not in str(caught.value)
    return caught.value.seen


def test_a_plain_graph_and_functions_that_are_called_a_few_times_pass() -> None:
    check_runnable(plain().SerializeToString())
    called = helper.make_node("F7", ["image"], ["logits"], domain="d")
    check_runnable(model([called], doubling(8)).SerializeToString())


def test_a_loop_is_refused_wherever_it_stands() -> None:
    """onnxruntime runs it as often as it says: 2^62 times, say."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])],
        [info("still", TensorProto.BOOL, [])],
    )
    loop = helper.make_node("Loop", ["turns", ""], [], body=body)
    assert refused(model([loop])) == "a graph with a Loop, which may run for ever"
    branch = helper.make_graph([loop], "branch", [], [info("x", TensorProto.FLOAT, None)])
    inside = helper.make_node("If", ["c"], ["x"], then_branch=branch, else_branch=branch)
    assert "a Loop" in refused(model([inside]))
    function = helper.make_function("d", "F", ["a"], ["b"], [loop], OPSETS)
    assert "a Loop" in refused(model([helper.make_node("Identity", ["image"], ["logits"])], [function]))


@pytest.mark.parametrize("depth", [14, 24, 40])
def test_functions_that_call_functions_are_counted_as_they_are_copied(depth: int) -> None:
    """A kilobyte that onnxruntime would make 2^40 nodes of; counted here without making them."""
    assert 2 ** (depth - 1) > MOST_COPIES
    called = helper.make_node(f"F{depth - 1}", ["image"], ["logits"], domain="d")
    assert "nodes once its functions are copied in" in refused(model([called], doubling(depth)))


def test_functions_that_call_themselves_or_nest_without_end_are_refused() -> None:
    functions = doubling(3)
    functions[0].node[0].op_type, functions[0].node[0].domain = "F2", "d"
    called = helper.make_node("F2", ["image"], ["logits"], domain="d")
    assert "calls itself" in refused(model([called], functions))
    chain = doubling(400)
    for function in chain[1:]:
        del function.node[1]
        function.node[0].output[0] = "b"
    assert "too deeply" in refused(model([called], chain))
    assert "too deeply" in refused(model([called], chain[::-1]))
    check_runnable(model([called], chain[:60]).SerializeToString())


def test_a_graph_of_too_many_nodes_is_refused() -> None:
    nodes = [helper.make_node("Relu", ["image"], [f"x{number}"]) for number in range(MOST_NODES)]
    check_runnable(model(nodes).SerializeToString())
    assert f"{MOST_NODES + 1:,} nodes" in refused(model([*nodes, nodes[0]]))


def _external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "evidence.npz"
    return tensor


def test_a_tensor_in_another_file_is_refused_as_weight_and_as_constant() -> None:
    made = plain()
    _external(made.graph.initializer[0])
    assert refused(made) == "the tensor 'weight' in another file"
    made = plain()
    tensor = onnx.TensorProto()
    tensor.CopyFrom(made.graph.initializer[0])
    constant = helper.make_node("Constant", [], ["c"], value=_external(tensor))
    made.graph.node.append(constant)
    assert refused(made) == "the tensor 'weight' in another file"


def test_sparse_tensors_and_operators_that_are_not_onnxs_are_refused() -> None:
    made = plain()
    thin = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "thin"),
        numpy_helper.from_array(np.zeros(1, np.int64)),
        [4],
    )
    made.graph.sparse_initializer.append(thin)
    assert refused(made) == "a graph with a sparse tensor"
    made = plain()
    made.graph.node[0].domain = "com.microsoft"
    assert refused(made) == "a graph with the operator 'MatMul' of 'com.microsoft'"
    made.graph.node[0].domain = "ai.onnx"
    check_runnable(made.SerializeToString())


def test_what_is_no_onnx_is_refused() -> None:
    with pytest.raises(InputError, match="does not parse"):
        check_runnable(b"\xff" * 40)


@pytest.mark.parametrize("outputs", [["", "s"], ["s", ""]])
def test_a_split_that_leaves_out_an_output_is_refused(outputs: list[str]) -> None:
    """onnxruntime 1.31 loads it, and dies of it: no exception, the process is gone."""
    nodes = [
        helper.make_node("Split", ["x"], outputs, axis=1, num_outputs=2),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    with pytest.raises(InputError, match="Split without a name for each of its outputs"):
        check_runnable(model(nodes).SerializeToString())
