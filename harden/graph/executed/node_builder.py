"""A builder of nodes of ONNX's own operators, in place of those that onnxruntime writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import onnx
from onnx import helper

from harden.graph.reading.known_values import Array
from harden.graph.reading.node_view import UnsupportedError

_CONVOLUTION: Final = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_PARAMETERS: Final = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
_LARGEST: Final = float(np.finfo(np.float32).max)
_PLAIN: Final = ("Relu", "Sigmoid", "Tanh", "HardSwish")


@final
@dataclass(slots=True)
class NodeBuilder:
    """The nodes and constants written so far.

    Args:
        constants: by name; more are added.
        taken: names that the graph uses.
        made: the nodes, in order.
    """

    constants: dict[str, Array]
    taken: set[str]
    made: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """A node with one output, which gets a name of its own if it is given none."""
        output = self.fresh() if output is None else output
        self.made.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: Array) -> str:
        """A constant under a name of its own."""
        name = self.fresh()
        self.constants[name] = value
        return name

    def fresh(self) -> str:
        """A name that the graph does not use."""
        name = f"standard_{len(self.taken)}"
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return name


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name, as Python values."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def add_convolution(nodes: NodeBuilder, node: onnx.NodeProto, inputs: Sequence[str], **changed: Any) -> None:
    """act(Conv(x, w, b) + z), of a fused convolution; bias, z and activation may be left out.

    Args:
        nodes: what was written so far.
        node: the fused convolution.
        inputs: x, w, b and z.
        changed: attributes of the convolution that are not the node's.
    """
    x, w, b, z = (*inputs, "", "")[:4]
    attributes = {name: each for name, each in attributes_of(node).items() if name in _CONVOLUTION} | changed
    given = [x, w, b] if b else [x, w]

    def before(last: str | None) -> str:
        if not z:
            return nodes.add("Conv", given, output=last, **attributes)
        return nodes.add("Add", [nodes.add("Conv", given, **attributes), z], output=last)

    add_activated(nodes, node, before)


def add_activated(nodes: NodeBuilder, node: onnx.NodeProto, before: Callable[[str | None], str]) -> None:
    """Add the nodes of `before`, followed by the activation that is fused into the node, if any.

    Raises:
        UnsupportedError: the activation is not known.
    """
    attributes = attributes_of(node)
    kind = attributes.get("activation", b"").decode()
    if not kind:
        before(node.output[0])
        return
    # FusedConv lists the activation's parameters, FusedGemm has attributes of their names.
    listed = [float(each) for each in attributes.get("activation_params", ())]
    named = {name: attributes.get(f"activation_{name}") for name in ("alpha", "beta", "min", "max")}
    given = before(None)
    if kind == "Clip" and len(listed) == 2:
        # An open end is the largest float32.
        ends = [
            "" if abs(each) >= _LARGEST else nodes.constant(np.array(each, dtype=np.float32))
            for each in listed
        ]
        nodes.add("Clip", [given, *ends], output=node.output[0])
    elif kind in _PARAMETERS:
        names = _PARAMETERS[kind]
        found = dict(zip(names, listed, strict=True)) if listed else {name: named[name] for name in names}
        found = {name: each for name, each in found.items() if each is not None}
        nodes.add(kind, [given], output=node.output[0], **found)
    elif kind in _PLAIN:
        nodes.add(kind, [given], output=node.output[0])
    else:
        raise UnsupportedError(f"the activation {kind}")
