"""Checks of an untrusted ONNX file before it is given to a runtime.

onnxruntime inlines functions as often as they are called, runs loops without limit, reads external files that
a tensor names and has operators of its own. An image classifier needs none of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, final

import onnx

from harden.certificate.untrusted.protobuf_messages import check_messages
from harden.errors import InputError

MOST_NODES: Final = 20_000
MOST_COPIES: Final = 4_000
"""Most nodes of inlined functions; onnxruntime takes seconds to load so many."""

_MOST_LEVELS: Final = 64
_LOOPS: Final = frozenset({"Loop", "Scan", "SequenceMap"})
_ALL_GIVEN: Final = frozenset({"If", "Split"})
"""Operators with any number of outputs, none of which may be omitted: onnxruntime 1.31 then crashes."""
_ONNX: Final = ("", "ai.onnx")

_Key = tuple[str, str, str]


def check_runnable(data: bytes) -> None:
    """Refuses the bytes of an ONNX file that is unsafe for a runtime.

    Guarantee for a file that passes: it names no other file, has no sparse tensor, leaves out no output of a
    Split, uses ONNX's own operators and functions in the file alone, runs each node at most once, and has at
    most MOST_NODES of them, of which at most MOST_COPIES come out of functions.

    Raises:
        InputError: the bytes are not an ONNX model, or not such a one.
    """
    check_messages(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's exceptions differ between its versions
        raise _refusal(f"ONNX content that does not parse ({error})") from error
    check_runnable_model(model)


def check_runnable_model(model: onnx.ModelProto) -> None:
    """As `check_runnable`, of a model that is parsed.

    Raises:
        InputError: as there.
    """
    inspection = _Inspection(model)
    nodes = inspection.nodes(model.graph, ())
    if nodes > MOST_NODES or inspection.copies > MOST_COPIES:
        shown = f"{nodes:,}" if nodes < 10**9 else "more than 10^9"
        raise _refusal(f"a graph of {shown} nodes once its functions are copied in")


@final
class _Inspection:
    """Visits a model once and counts its nodes after functions are inlined."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._functions = {(_domain(one.domain), one.name, one.overload): one for one in model.functions}
        self._sizes: dict[_Key, int] = {}
        self._levels: dict[_Key, int] = {}
        self.copies = 0
        for function in model.functions:  # the runtime reads also those that are never called
            self._function((_domain(function.domain), function.name, function.overload), ())

    def nodes(self, graph: onnx.GraphProto, above: tuple[_Key, ...]) -> int:
        """The number of nodes of a graph, with those of its inner graphs and functions."""
        if graph.sparse_initializer:
            raise _refusal("a graph with a sparse tensor")
        for tensor in graph.initializer:
            _check_tensor(tensor)
        return sum(self._node(node, above) for node in graph.node)

    def _node(self, node: onnx.NodeProto, above: tuple[_Key, ...]) -> int:
        key = (_domain(node.domain), node.op_type, node.overload)
        if key in self._functions:
            size = self._function(key, above)
            self.copies += 0 if above else size
        elif key[0] != "":
            raise _refusal(f"a graph with the operator {node.op_type!r} of {node.domain!r}")
        elif node.op_type in _LOOPS:
            raise _refusal(f"a graph with a {node.op_type}, which may run for ever")
        elif node.op_type in _ALL_GIVEN and "" in node.output:
            raise _refusal(f"a graph with a {node.op_type} without a name for each of its outputs")
        else:
            size = 1
        for tensor in _tensors(node.attribute):
            _check_tensor(tensor)
        return size + sum(self.nodes(graph, above) for graph in _graphs(node.attribute))

    def _function(self, key: _Key, above: tuple[_Key, ...]) -> int:
        if key not in self._sizes:
            if key in above or len(above) >= _MOST_LEVELS:
                raise _refusal(f"a graph whose function {key[1]!r} calls itself, or others too deeply")
            function = self._functions[key]
            for tensor in _tensors(function.attribute_proto):
                _check_tensor(tensor)
            self._levels[key] = 1
            self._sizes[key] = sum(self._node(node, (*above, key)) for node in function.node)
        if above:
            level = self._levels[above[-1]] = max(self._levels[above[-1]], 1 + self._levels[key])
            if level > _MOST_LEVELS:  # onnxruntime takes half a minute over 2,000
                raise _refusal(f"a graph whose function {above[-1][1]!r} calls others too deeply")
        return self._sizes[key]


def _domain(name: str) -> str:
    return "" if name in _ONNX else name


def _tensors(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise _refusal("a graph with a sparse tensor")
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _graphs(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.GraphProto]:
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise _refusal(f"the tensor {tensor.name[:80]!r} in another file")


def _refusal(seen: str) -> InputError:
    return InputError(
        " ".join(seen.split()), "an image classifier's graph in one file", "use a model that harden exported"
    )
