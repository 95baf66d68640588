"""The row of an ONNX operator: its name, its converter and the batch rules of its operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from harden.graph.batch_rules import BatchRule
from harden.graph.operation_graph import Operation
from harden.graph.reading.node_view import Converter, NodeView, Reading


@final
@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """An ONNX operator that can be read.

    Args:
        name: of the ONNX operator.
        converter: from a node of the file to operations.
        batch_rules: by class of operation, for each that this row is the first to use; a row whose converter
            returns operations of other rows alone has none.
    """

    name: str
    converter: Converter
    batch_rules: Mapping[type[Any], BatchRule] = field(default_factory=dict)


def always(operation: Operation, inputs: int) -> Converter:
    """A converter of nodes without attributes: the same operation on the first inputs."""

    def convert(call: NodeView) -> list[Reading]:
        return [(operation, tuple(range(inputs)))]

    return convert
