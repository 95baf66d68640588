"""Removal of nodes that the logits do not depend on."""

from __future__ import annotations

from typing import Final

import onnx

from harden.errors import InputError
from harden.graph.reading.load_model import one_line

_ONNX: Final = ("", "ai.onnx")


def required_nodes(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes that an output is computed from, in the file's order; all others are not read.

    Raises:
        InputError: a value is given twice, so that its name does not say which is meant, or an operator is
            not one of ONNX's own.
    """
    _check_names(graph)
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    for node in kept:
        if node.domain not in _ONNX:
            raise InputError(
                one_line(f"a graph with the operator {node.op_type!r} of {node.domain!r}"),
                "ONNX's own operators",
                "export it without them, or attack it as a black box through onnxruntime",
            )
    return kept[::-1]


def _check_names(graph: onnx.GraphProto) -> None:
    seen = {port.name for port in graph.input} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for name in node.output:
            if name and name in seen:
                raise InputError(
                    one_line(f"a graph that gives {name[:80]!r} twice"),
                    "one value for each name",
                    "export the model again",
                )
            seen.add(name)
