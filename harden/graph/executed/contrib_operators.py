"""onnxruntime's own operators, which its graph optimisation writes, as the ONNX operators that they compute.

What they compute is documented with onnxruntime (docs/ContribOperators.md there); those of the blocked layout
are in `nchwc_layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from harden.graph.executed.nchwc_layout import NchwcLayout, StoredWeights
from harden.graph.executed.node_builder import NodeBuilder, add_activated, add_convolution, attributes_of
from harden.graph.reading.load_model import numbers, one_line
from harden.graph.reading.node_view import UnsupportedError
from harden.graph.reading.read import UnreadableError

_ONNX: Final = ("", "ai.onnx")
_CONTRIB: Final = "com.microsoft"
_BLOCKED: Final = "com.microsoft.nchwc"

Rule = Callable[[NodeBuilder, onnx.NodeProto], None]


def standard_form(model: onnx.ModelProto, weights: StoredWeights) -> onnx.ModelProto:
    """A model in ONNX's own operators alone, which computes what an optimised one does.

    Args:
        model: as onnxruntime writes it.
        weights: of convolutions at the levels before; those of this model are added.

    Raises:
        UnreadableError: an operator has no such form; all are named.
    """
    constants = {tensor.name: numbers(tensor) for tensor in model.graph.initializer}
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    nodes = NodeBuilder(constants, taken | set(constants))
    layout = NchwcLayout(nodes, weights)
    refused: dict[str, str] = {}
    for node in model.graph.node:
        try:
            if node.domain == _BLOCKED:
                layout.take(node)
            else:
                _rule(node)(nodes, node)
                layout.follow(node)
        except (UnsupportedError, IndexError, KeyError, ValueError) as error:  # inputs that do not fit
            refused.setdefault(f"{node.op_type} of {node.domain or 'ai.onnx'} ({error})", node.name)
    if refused:
        shown = "; ".join(f"{what} in {name!r}" for what, name in sorted(refused.items()))
        raise UnreadableError(
            one_line(f"a graph with what can't be read: {shown}"),
            "operators that ONNX's own can express",
            "evaluate the file by attacks instead (harden evaluate)",
        )
    for each in nodes.constants.values():
        weights.learn(each)
    return _model(model, nodes)


def _model(model: onnx.ModelProto, nodes: NodeBuilder) -> onnx.ModelProto:
    """The graph of other nodes and constants between the same ports."""
    used = {name for node in nodes.made for name in node.input}
    constants = [
        numpy_helper.from_array(each, name) for name, each in nodes.constants.items() if name in used
    ]
    ports = [port for port in model.graph.input if port.name not in nodes.constants]
    graph = helper.make_graph(nodes.made, "standard form", ports, model.graph.output, constants)
    opsets = [opset for opset in model.opset_import if opset.domain in _ONNX]
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)


def _rule(node: onnx.NodeProto) -> Rule:
    if node.domain in _ONNX:
        return _gemm if node.op_type == "Gemm" else _as_it_is
    if node.domain != _CONTRIB or node.op_type not in _OF_CONTRIB:
        raise UnsupportedError("no form in ONNX's own operators")
    return _OF_CONTRIB[node.op_type]


def _as_it_is(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    nodes.made.append(node)


def _gemm(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    """A Gemm whose third input varies is a sum, as it was before Gemm and Sum were fused."""
    _add_gemm(nodes, node, node.output[0])


def _add_gemm(nodes: NodeBuilder, node: onnx.NodeProto, last: str | None) -> str:
    """The product and the sum of a Gemm, which may be fused with more."""
    kept = ("alpha", "beta", "transA", "transB")
    attributes = {name: each for name, each in attributes_of(node).items() if name in kept}
    if len(node.input) < 3 or not node.input[2] or node.input[2] in nodes.constants:
        return nodes.add("Gemm", node.input, output=last, **attributes)
    if float(attributes.pop("beta", 1.0)) != 1.0:
        raise UnsupportedError("a value with a factor")
    product = nodes.add("Gemm", node.input[:2], **attributes)
    return nodes.add("Add", [product, node.input[2]], output=last)


def _fused_conv(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    """act(Conv(x, w, b) + z)."""
    add_convolution(nodes, node, node.input)


def _fused_gemm(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    """act(alpha A B + beta C)."""
    add_activated(nodes, node, lambda last: _add_gemm(nodes, node, last))


def _fused_matmul(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    """A op(B) times alpha, op a transposition of the last two dimensions of a constant."""
    attributes = attributes_of(node)
    a, b = node.input
    if any(attributes.get(name, 0) for name in ("transA", "transBatchA", "transBatchB")):
        raise UnsupportedError("a transposed value")
    if attributes.get("transB", 0):
        if b not in nodes.constants:
            raise UnsupportedError("a transposed value")
        b = nodes.constant(nodes.constants[b].swapaxes(-1, -2).copy())
    alpha = float(attributes.get("alpha", 1.0))
    if alpha == 1.0:
        nodes.add("MatMul", [a, b], output=node.output[0])
    elif b in nodes.constants and nodes.constants[b].ndim == 2:
        # A Gemm's error bound allows for the factor before and after the sum; it takes any number of rows.
        nodes.add("Gemm", [a, b], output=node.output[0], alpha=alpha)
    else:
        raise UnsupportedError("a product of two values with a factor")


def _gelu(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    nodes.add("Gelu", node.input, output=node.output[0])


def _bias_gelu(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    nodes.add("Gelu", [nodes.add("Add", node.input)], output=node.output[0])


def _fast_gelu(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    given = node.input[0]
    if len(node.input) > 1 and node.input[1]:
        given = nodes.add("Add", node.input)
    nodes.add("Gelu", [given], output=node.output[0], approximate="tanh")


def _quick_gelu(nodes: NodeBuilder, node: onnx.NodeProto) -> None:
    """Of x, x sigmoid(alpha x)."""
    alpha = nodes.constant(np.array(attributes_of(node).get("alpha", 1.702), dtype=np.float32))
    gate = nodes.add("Sigmoid", [nodes.add("Mul", [node.input[0], alpha])])
    nodes.add("Mul", [node.input[0], gate], output=node.output[0])


_OF_CONTRIB: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "BiasGelu": _bias_gelu,
        "FastGelu": _fast_gelu,
        "FusedConv": _fused_conv,
        "FusedGemm": _fused_gemm,
        "FusedMatMul": _fused_matmul,
        "Gelu": _gelu,
        "QuickGelu": _quick_gelu,
    }
)
