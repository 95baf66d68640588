"""Digest of the content of an ONNX graph, independent of its encoding in the file; numpy and onnx alone.

Included: opsets, functions, inputs and outputs with dtype and shape, initializers (name, dtype, shape,
little-endian values), nodes in order with operator, values and attributes. Excluded: parts that change no
result (node names, doc strings, metadata, inferred shapes, producer, IR version) and how a tensor is packed
(raw or typed fields, order of storage). So a re-encoding keeps the digest and one flipped weight bit loses
it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from harden.certificate.untrusted.protobuf_messages import check_messages
from harden.errors import InputError
from harden.system.atomic_files import read_bytes
from harden.system.size_limits import MODEL_BYTES

_VERSION = "harden-graph-v1"


class _Digest:
    """A sha256 over typed, length-prefixed items: no two sequences of items give the same bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def put(self, *items: str | bytes | int) -> None:
        """Adds items, each as one letter for its type, its length and its bytes."""
        for item in items:
            kind = b"i" if isinstance(item, int) else b"s" if isinstance(item, str) else b"b"
            data = item if isinstance(item, bytes) else str(item).encode("utf-8")
            self._hash.update(kind + struct.pack("<Q", len(data)))
            self._hash.update(data)

    def strings(self, items: Iterable[str]) -> None:
        """Adds a sequence of strings with its length."""
        texts = list(items)
        self.put(len(texts), *texts)

    def hex(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()


def graph_digest(model: onnx.ModelProto) -> str:
    """Digests the content of a model's graph, in lower-case hex.

    Raises:
        InputError: the graph holds external data, sparse tensors or type attributes, which v1 does not cover.
    """
    digest = _Digest()
    digest.put(_VERSION)
    _put_opsets(digest, model.opset_import)
    functions = sorted(model.functions, key=lambda f: (f.domain, f.name, f.overload))
    digest.put("functions", len(functions))
    for function in functions:
        digest.put(function.domain, function.name, function.overload)
        _put_opsets(digest, function.opset_import)
        for names in (function.input, function.output, sorted(function.attribute)):
            digest.strings(names)
        _put_attributes(digest, function.attribute_proto)
        _put_nodes(digest, function.node)
    _put_graph(digest, model.graph)
    return digest.hex()


def graph_digest_file(path: str | Path) -> str:
    """Digests the graph in an ONNX file; see `graph_digest`.

    Raises:
        InputError: the file is not an ONNX model, or holds what v1 does not cover.
        OSError: the file cannot be read.
    """
    return graph_digest_bytes(read_bytes(path, MODEL_BYTES))


def graph_digest_bytes(data: bytes) -> str:
    """Digests the graph in the bytes of an ONNX file; see `graph_digest`.

    Raises:
        InputError: the bytes are not an ONNX model, or hold what v1 does not cover.
    """
    check_messages(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        return graph_digest(model)
    except InputError:
        raise
    except Exception as error:  # protobuf's and onnx's exceptions differ between their versions
        raise InputError(
            f"ONNX content that does not parse ({error})", "an ONNX model", "export it again"
        ) from error


def _put_opsets(digest: _Digest, opsets: Iterable[onnx.OperatorSetIdProto]) -> None:
    pairs = sorted((_domain(opset.domain), opset.version) for opset in opsets)
    digest.put("opsets", len(pairs))
    for domain, version in pairs:
        digest.put(domain, version)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _put_graph(digest: _Digest, graph: onnx.GraphProto) -> None:
    if graph.sparse_initializer:
        raise _uncovered("a sparse initializer")
    for title, values in (("inputs", graph.input), ("outputs", graph.output)):
        digest.put(title, len(values))
        for value in values:
            digest.put(value.name)
            _put_type(digest, value.type)
    digest.put("initializers", len(graph.initializer))
    for tensor in sorted(graph.initializer, key=lambda t: t.name):
        _put_tensor(digest, tensor)
    _put_nodes(digest, graph.node)


def _put_type(digest: _Digest, kind: onnx.TypeProto) -> None:
    which = kind.WhichOneof("value") or ""  # empty: a subgraph's output, whose type is inferred
    digest.put(which)
    if which == "tensor_type":
        tensor = kind.tensor_type
        digest.put(tensor.elem_type, int(tensor.HasField("shape")), len(tensor.shape.dim))
        for dim in tensor.shape.dim:
            field = dim.WhichOneof("value")
            digest.put(dim.dim_value if field == "dim_value" else dim.dim_param)
    elif which:
        raise _uncovered(f"a value of {which}")


def _put_tensor(digest: _Digest, tensor: onnx.TensorProto) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise _uncovered(f"the tensor {tensor.name!r} in an external file")
    digest.put(tensor.name, tensor.data_type, len(tensor.dims), *tensor.dims)
    array = numpy_helper.to_array(tensor)
    if tensor.data_type == onnx.TensorProto.STRING:
        for item in array.reshape(-1).tolist():
            digest.put(item if isinstance(item, bytes) else str(item).encode("utf-8"))
        return
    little = array if array.dtype.byteorder != ">" else array.astype(array.dtype.newbyteorder("<"))
    digest.put(np.ascontiguousarray(little).tobytes())


def _put_nodes(digest: _Digest, nodes: Iterable[onnx.NodeProto]) -> None:
    ordered = list(nodes)
    digest.put("nodes", len(ordered))
    for node in ordered:
        digest.put(_domain(node.domain), node.op_type, node.overload)
        digest.strings(node.input)
        digest.strings(node.output)
        _put_attributes(digest, node.attribute)


def _put_attributes(digest: _Digest, attributes: Iterable[onnx.AttributeProto]) -> None:
    ordered = sorted(attributes, key=lambda a: a.name)
    digest.put("attributes", len(ordered))
    for attribute in ordered:
        digest.put(attribute.name, attribute.ref_attr_name, attribute.type)
        _put_value(digest, attribute)


def _put_value(digest: _Digest, attribute: onnx.AttributeProto) -> None:
    kind = attribute.type
    if kind == onnx.AttributeProto.FLOAT:
        digest.put(struct.pack("<f", attribute.f))
    elif kind == onnx.AttributeProto.INT:
        digest.put(attribute.i)
    elif kind == onnx.AttributeProto.STRING:
        digest.put(attribute.s)
    elif kind == onnx.AttributeProto.FLOATS:
        digest.put(len(attribute.floats), struct.pack(f"<{len(attribute.floats)}f", *attribute.floats))
    elif kind == onnx.AttributeProto.INTS:
        digest.put(len(attribute.ints), *attribute.ints)
    elif kind == onnx.AttributeProto.STRINGS:
        digest.put(len(attribute.strings), *attribute.strings)
    elif kind in (onnx.AttributeProto.TENSOR, onnx.AttributeProto.TENSORS):
        tensors = [attribute.t] if kind == onnx.AttributeProto.TENSOR else list(attribute.tensors)
        digest.put(len(tensors))
        for tensor in tensors:
            _put_tensor(digest, tensor)
    elif kind in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        graphs = [attribute.g] if kind == onnx.AttributeProto.GRAPH else list(attribute.graphs)
        digest.put(len(graphs))
        for graph in graphs:
            _put_graph(digest, graph)
    elif not attribute.ref_attr_name:
        raise _uncovered(f"the attribute {attribute.name!r} of type {kind}")


def _uncovered(what: str) -> InputError:
    return InputError(
        f"the graph holds {what}",
        "a graph in one file with dense tensors",
        "export it with external_data=False and dense weights",
    )
