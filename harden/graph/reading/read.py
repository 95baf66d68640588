"""A reader of ONNX files into lists of typed operations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor

from harden.errors import InputError
from harden.graph.batch_first import batch_first
from harden.graph.limits.tensor_sizes import ReadingLimits, ShapeInference
from harden.graph.operation_graph import BATCH, Graph, Node, Operation, Port
from harden.graph.operator_table import BATCH_RULES, OPERATORS
from harden.graph.operators.reshaping import Expand
from harden.graph.reading.constant_folding import fold_constants
from harden.graph.reading.graph_ports import input_port, output_name
from harden.graph.reading.known_values import SEVERAL, ComputedValue, KnownValue, Value, shape_of
from harden.graph.reading.load_model import load_model, numbers, one_line
from harden.graph.reading.node_view import NodeView, UnsupportedError, shapes
from harden.graph.reading.prune import required_nodes
from harden.graph.reading.rounding_count import MOST_ROUNDINGS

_OPSETS = range(7, 24)
_WIDTH = 4  # of a weight
_Converted = tuple[str, Sequence[Operation], list[tuple[str, Value | None]]]


@final
class UnreadableError(InputError):
    """A file whose operations are not all known: a runtime may run it all the same."""


def read(model: str | Path | bytes | onnx.ModelProto, *, moving: frozenset[str] = frozenset()) -> Graph:
    """Read an ONNX classifier: one float32 input, a batch first, to one float32 output.

    Constants are folded and what the output does not need is left out; shapes, axes and pads that the file
    passes as tensors become attributes. Inputs and outputs may have any names, images any layout and range.

    Args:
        model: a file, its bytes, or the parsed model.
        moving: names of initialisers that will change: `derived` lists the constants that follow from them.

    Raises:
        UnreadableError: operators or attributes are not supported; all are named at once.
        InputError: it can't be loaded, or is no such classifier.
    """
    parsed = load_model(model)
    opsets = {opset.domain: opset.version for opset in parsed.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if opset not in _OPSETS:
        raise InputError(
            f"a graph of opset {opset}",
            f"opset {_OPSETS[0]} to {_OPSETS[-1]}",
            "convert it with onnx.version_converter, or export it again",
        )
    port, fixed = input_port(parsed.graph)
    batches = (fixed,) if fixed is not None else SEVERAL
    weights = sum(_WIDTH * math.prod(tensor.dims) for tensor in parsed.graph.initializer)
    reader = _Reader(opset, port, batches, set(moving), ReadingLimits(weights))
    for tensor in parsed.graph.initializer:
        reader.taken.add(tensor.name)
        reader.values[tensor.name] = KnownValue((numbers(tensor),) * len(reader.batches))
    reader.taken.update(name for node in parsed.graph.node for name in node.output)
    output = output_name(parsed.graph)
    nodes = required_nodes(parsed.graph, output)
    reader.wanted.update((output, *(name for node in nodes for name in node.input)))
    for node in nodes:
        reader.limits.check_time()
        reader.take(node)
    if reader.refusals:
        raise _refusal(reader.refusals)
    return batch_first(reader.graph(output, fixed))


@final
@dataclass(slots=True)
class _Reader:
    """The state of reading one graph."""

    opset: int
    port: Port
    batches: tuple[int, ...]
    moving: set[str]
    limits: ReadingLimits
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    rounded: set[str] = field(default_factory=set)
    repeated: dict[str, str] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    derived: list[Node] = field(default_factory=list)
    sizes: ShapeInference = field(default_factory=ShapeInference)

    def __post_init__(self) -> None:
        sizes = self.port.shape[1:]
        self.values[self.port.name] = ComputedValue(tuple((batch, *sizes) for batch in self.batches))

    def take(self, node: onnx.NodeProto) -> None:
        """Read one node; a reason to refuse it is kept for the one error at the end."""
        name = node.name or (node.output[0] if node.output else "")
        missing = {given for given in node.input if given and given not in self.values}
        if missing:
            self.lost.update(node.output)
            if not missing <= self.lost:  # else it builds on a node that was refused already
                said = "an input that no node before it gives"
                self.refusals.setdefault(f"{node.op_type} ({said})", []).append(name)
            return
        values = [self.values[given] if given else None for given in node.input]
        try:
            known = fold_constants(node, values, self.opset, len(self.batches))
            if known is None:
                self._convert(node, values, name)
            else:
                if node.op_type not in ("Shape", "Size") and self.moving.intersection(node.input):
                    self._derive(node, values, name)
                self.limits.take(sum(one.nbytes for one in known))
                self.values.update(zip([output for output in node.output if output], known, strict=False))
        except UnsupportedError as reason:
            self.lost.update(node.output)
            self.refusals.setdefault(f"{node.op_type} ({reason})", []).append(name)

    def _converted(self, node: onnx.NodeProto, values: list[Value | None]) -> Iterator[_Converted]:
        """For each output its name, what is computed for it one on another, and of which inputs."""
        if node.op_type not in OPERATORS:
            raise UnsupportedError("no rule")
        call = NodeView(
            node.op_type,
            {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
            values,
            self.opset,
            self.batches,
            tuple(output in self.wanted for output in node.output),
        )
        try:
            readings = OPERATORS[node.op_type].converter(call)
            taken = [[(node.input[at], values[at]) for at in places] for _, places in readings]
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # Inputs that are missing, attributes of another type: the file breaks ONNX's own rules.
            raise UnsupportedError(f"inputs or attributes that do not fit: {error}"[:160]) from error
        for output, (operations, _), inputs in zip(node.output, readings, taken, strict=False):
            if output:
                several = operations if isinstance(operations, Sequence) else (operations,)
                _check_batch_rules(node.op_type, several)
                yield output, several, inputs

    def _convert(self, node: onnx.NodeProto, values: list[Value | None], name: str) -> None:
        for output, (*before, last), inputs in self._converted(node, values):
            for operation in before:
                middle = self._fresh(f"{output}.before")
                self._add(operation, inputs, middle, name, node.op_type)
                inputs = [(middle, self.values[middle])]
            self._add(last, inputs, output, name, node.op_type)

    def _derive(self, node: onnx.NodeProto, values: list[Value | None], name: str) -> None:
        """A constant that follows from weights that move, as nodes, in addition to its present value."""
        for output, (*before, last), inputs in self._converted(node, values):
            names = tuple(self._named(given, value, node.op_type) for given, value in inputs)
            for operation in before:
                middle = self._fresh(f"{output}.before")
                self.derived.append(Node(operation, names, middle, (), name, node.op_type))
                names = (middle,)
            self.derived.append(Node(last, names, output, (), name, node.op_type))
            self.moving.add(output)

    def _add(
        self,
        operation: Operation,
        inputs: Sequence[tuple[str, Value | None]],
        output: str,
        name: str,
        kind: str,
    ) -> None:
        """One operation of the graph: what it computes is tried without numbers, for its shapes."""
        names = tuple(self._named(given, value, kind) for given, value in inputs)
        found = [self.sizes(operation, self._shapes(names, at)) for at in range(len(self.batches))]
        try:
            shape = shape_of(found, self.batches)
        except ValueError as error:
            raise UnsupportedError(str(error)) from error
        self.sizes.count(f"the tensor {output[:80]!r}, which {kind} makes,", found[0], self.batches[0])
        self.values[output] = ComputedValue(tuple(found))
        self.nodes.append(Node(operation, names, output, shape, name, kind))

    def _named(self, name: str, value: Value | None, kind: str) -> str:
        """The name under which a value is found when the graph runs; constants are kept for it."""
        if not isinstance(value, KnownValue) or name in self.constants:
            return name
        array = value.arrays[0]
        if not value.constant:
            return self._for_each_image(name, value)
        if array.dtype == np.float64 or array.dtype.kind not in "fiub":
            raise UnsupportedError(f"a constant of {array.dtype}")
        if array.dtype == np.float16:
            raise UnsupportedError("float16")
        numbers = torch.from_numpy(np.array(array))
        tensor = numbers if array.dtype == np.float32 else numbers.to(torch.float32)
        # A mask of attention is 0 or minus infinity.
        if not bool(tensor.isfinite().all()) and (kind not in ("Add", "Where") or bool(tensor.isnan().any())):
            raise UnsupportedError(f"weights that are not finite ({name})")
        self.constants[name] = tensor
        if value.roundings > MOST_ROUNDINGS:
            self.rounded.add(name)
        return name

    def _for_each_image(self, name: str, value: KnownValue) -> str:
        """A constant that is repeated for each image, such as a transformer's class token."""
        first = value.arrays[0][:1] if value.arrays[0].ndim else value.arrays[0]
        shape = (BATCH, *first.shape[1:])
        if not all(
            array.shape == (batch, *shape[1:]) and bool((array == first).all())
            for array, batch in zip(value.arrays, self.batches, strict=True)
        ):
            raise UnsupportedError(f"numbers that depend on the batch's size ({name})")
        if name not in self.repeated:
            once, each = self._fresh(f"{name}.once"), self._fresh(f"{name}.each")
            self.values[once] = KnownValue((first,) * len(self.batches), value.roundings)
            given = [(once, self.values[once]), (self.port.name, self.values[self.port.name])]
            self._add(Expand(shape), given, each, name, "Expand")
            self.repeated[name] = each
        return self.repeated[name]

    def _fresh(self, name: str) -> str:
        """A name that the file does not use; it may use any."""
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return name

    def _shapes(self, names: Sequence[str], at: int) -> tuple[tuple[int, ...], ...]:
        """Of the inputs of an operation, in one of the batches."""
        return tuple(
            tuple(self.constants[name].shape) if name in self.constants else shapes(self.values.get(name))[at]
            for name in names
        )

    def graph(self, output: str, fixed: int | None) -> Graph:
        """The graph that was read, without nodes that the output does not need."""
        needed, kept = {output}, []
        for node in reversed(self.nodes):
            if node.output in needed:
                kept.append(node)
                needed.update(node.inputs)
        shapes_ = {node.output: node.shape for node in kept}
        if output not in shapes_:
            raise InputError(
                "an output that does not depend on the input", "a classifier's logits", "export it again"
            )
        logits = shapes(self.values[output])
        if any(shape[:1] != (batch,) for shape, batch in zip(logits, self.batches, strict=True)):
            raise InputError(
                f"an output of shape {list(logits[0])} for {self.batches[0]} images",
                "logits for each image, the batch first",
                "export the classifier with its batch kept",
            )
        derived = []
        for node in reversed(self.derived):
            if node.output in needed:
                derived.append(node)
                needed.update(node.inputs)
        constants = {name: each for name, each in self.constants.items() if name in needed}
        port, rounded = Port(output, shapes_[output]), frozenset(self.rounded & needed)
        nodes = tuple(reversed(kept))
        return Graph(self.port, port, nodes, constants, fixed, rounded, tuple(reversed(derived)))


def _check_batch_rules(kind: str, operations: Sequence[Operation]) -> None:
    """Refuse operations that no row of an operator lists.

    Raises:
        TypeError: there is one: an error of this library, not of the file.
    """
    for operation in operations:
        if type(operation) not in BATCH_RULES:
            raise TypeError(
                f"operation {type(operation).__name__} of {kind} has no batch rule: add it to its row"
            )


def _refusal(refusals: dict[str, list[str]]) -> UnreadableError:
    shown = "; ".join(
        f"{what} in {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}"
        for what, names in sorted(refusals.items())
    )
    return UnreadableError(
        one_line(f"a graph with what can't be read: {shown}"),
        "layers, activations, pooling, normalisation and reshaping of an image classifier in float32",
        "export it without them, or attack it as a black box through onnxruntime",
    )
