"""A classifier's graph as a list of typed operations, and its execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

BATCH = -1
"""In a shape, the size of the batch; -k is k times that size."""

Operation = Callable[..., Tensor]
"""A frozen value of attributes, called with tensors in the order of the ONNX operator's inputs.

What ONNX passes as a tensor of integers (a shape, axes, pads) is an attribute here, resolved when the graph
is read. Weights are tensors: so the same graph runs on the file's constants and on live parameters. The
output is differentiable and follows dtype and device of the inputs.
"""


@final
@dataclass(frozen=True, slots=True)
class Port:
    """The graph's one input or output: float32 of a shape, BATCH first."""

    name: str
    shape: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class Node:
    """One operation with the names of its inputs and output, and its origin in the file.

    Args:
        operation: a frozen value of attributes.
        inputs: names of values: the graph's input, another node's output, or a constant.
        output: its own name.
        shape: of the output, BATCH (or a multiple of it: -2 is twice the batch) where the batch decides.
        name: of the node in the file, or its output's where it has none.
        kind: the ONNX operator.
    """

    operation: Operation
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]
    name: str
    kind: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in an order in which each comes after what it needs.

    Args:
        input: the images, whatever shape and range they have in the file.
        output: the logits.
        nodes: what is computed, constants folded and dead ends left out.
        constants: weights by name, float32 on the CPU.
        batch: the one batch size that the file takes; None if any.
        rounded: constants that are in no file but were folded, by arithmetic in which runtimes may differ:
            what is computed from them here is no proof of what a runtime computes.
        derived: how constants follow from others, in order, where `read` was given those that move.
    """

    input: Port
    output: Port
    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    batch: int | None = None
    rounded: frozenset[str] = frozenset()
    derived: tuple[Node, ...] = ()

    def run(self, x: Tensor, constants: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch, differentiably: on the file's constants, or on others of the same names.

        Args:
            x: (N, ...) as `input` has it.
            constants: on x's device and of its dtype.
        """
        last = {name: at for at, node in enumerate(self.nodes) for name in node.inputs}
        values = {self.input.name: x}
        for at, node in enumerate(self.nodes):
            self._step(node, values, constants)
            for name in node.inputs:  # else a large network's values would all be held to the end
                if last[name] == at and name != self.output.name:
                    values.pop(name, None)
        return values[self.output.name]

    def values(self, x: Tensor, constants: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Every node's output by name, and the input."""
        values = {self.input.name: x}
        for node in self.nodes:
            self._step(node, values, constants)
        return values

    def _step(self, node: Node, values: dict[str, Tensor], constants: Mapping[str, Tensor] | None) -> None:
        weights = self.constants if constants is None else constants
        given = [values[name] if name in values else weights[name] for name in node.inputs]
        values[node.output] = node.operation(*given)
