"""Input and output of a classifier's graph: one of each."""

from __future__ import annotations

import onnx

from harden.errors import InputError
from harden.graph.operation_graph import BATCH, Port
from harden.graph.reading.load_model import one_line


def input_port(graph: onnx.GraphProto) -> tuple[Port, int | None]:
    """The images, and the batch size that the file fixes, if it does.

    Raises:
        InputError: there is not one such input of float32 with a batch first and sizes that are known.
    """
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [port for port in graph.input if port.name not in constants]
    if len(inputs) != 1:
        raise InputError(
            one_line(f"a graph with {len(inputs)} inputs ({', '.join(port.name for port in inputs)[:120]})"),
            "one, the images",
            "export the classifier alone",
        )
    (port,) = inputs
    _check_float32(port)
    sizes = [
        size.dim_value if size.HasField("dim_value") else None for size in port.type.tensor_type.shape.dim
    ]
    if len(sizes) < 2:
        raise InputError(
            f"the input {port.name!r} of shape {sizes}",
            "a batch of images, (batch, ...)",
            "export it with a batch as the first dimension",
        )
    if None in sizes[1:] or any(size is not None and size < 1 for size in sizes):
        raise InputError(
            f"the input {port.name!r} of shape {['?' if size is None else size for size in sizes]}",
            "sizes that are known but for the batch's",
            "export it for images of one size",
        )
    known = [size for size in sizes[1:] if size is not None]
    return Port(port.name, (BATCH, *known)), sizes[0]


def output_name(graph: onnx.GraphProto) -> str:
    """The logits.

    Raises:
        InputError: there is not one output of float32.
    """
    if len(graph.output) != 1:
        raise InputError(
            one_line(
                f"a graph with {len(graph.output)} outputs"
                f" ({', '.join(port.name for port in graph.output)[:120]})"
            ),
            "one, the logits",
            "export the classifier alone",
        )
    _check_float32(graph.output[0])
    return str(graph.output[0].name)


def _check_float32(port: onnx.ValueInfoProto) -> None:
    kind = port.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        known = kind in onnx.TensorProto.DataType.values()
        named = onnx.TensorProto.DataType.Name(kind).lower() if known and kind else "no known type"
        raise InputError(f"{port.name!r} of {named}", "float32", "export the model in float32")
