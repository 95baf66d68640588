"""Layers with weights, and those that quantise."""

from __future__ import annotations

from harden.graph.converters.window_attributes import windows
from harden.graph.operations import (
    LRN,
    BatchNormalization,
    Conv,
    ConvTranspose,
    DequantizeLinear,
    Einsum,
    Gemm,
    GroupNormalization,
    LayerNormalization,
    MatMul,
    QuantizeLinear,
)
from harden.graph.reading.node_view import Call, Converter, Reading, UnsupportedError, shapes

_KINDS = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}
"""Of a grid without a zero point, by ONNX's number."""
_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}


def _present(call: Call) -> tuple[int, ...]:
    return tuple(at for at in range(len(call.values)) if call.has(at))


def _gemm(call: Call) -> list[Reading]:
    settings = (call.number("alpha", 1), call.number("beta", 1), call.flag("transA"), call.flag("transB"))
    return [(Gemm(*settings), _present(call))]


def _matmul(call: Call) -> list[Reading]:
    return [(MatMul(), (0, 1))]


def _einsum(call: Call) -> list[Reading]:
    equation = call.word("equation", "").replace(" ", "")
    given, arrow, output = equation.partition("->")
    inputs = tuple(given.split(","))
    letters = "".join(inputs)
    plain = letters.isascii() and letters.isalpha() and len(inputs) == len(call.values)
    if not arrow or not plain or any(len(set(each)) != len(each) for each in (*inputs, output)):
        raise UnsupportedError(f"equation={equation}")
    return [(Einsum(inputs, output), tuple(range(len(inputs))))]


def _conv(call: Call) -> list[Reading]:
    kernel = shapes(call.values[1])[0][2:]
    strides, pads, dilations = windows(call, kernel)
    return [(Conv(strides, pads, dilations, int(call.number("group", 1))), _present(call))]


def _conv_transpose(call: Call) -> list[Reading]:
    kernel = shapes(call.values[1])[0][2:]
    if call.word("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in call.attributes:
        raise UnsupportedError("auto_pad or output_shape")
    strides, pads, dilations = windows(call, kernel)
    more = call.numbers("output_padding", (0,) * len(kernel))
    ends = zip(call.shape[2:], strides, kernel, dilations, more, pads, pads[len(kernel) :], strict=False)
    if any(
        (size - 1) * stride + (width - 1) * apart + 1 + further <= begin + end
        for size, stride, width, apart, further, begin, end in ends
    ):
        raise UnsupportedError(f"pads={list(pads)} that leave nothing")
    return [(ConvTranspose(strides, pads, dilations, int(call.number("group", 1)), more), _present(call))]


def _group_normalization(call: Call) -> list[Reading]:
    call.only("stash_type", 1)
    channels = call.shape[1]
    groups = channels if call.kind == "InstanceNormalization" else int(call.attributes["num_groups"])
    if any(shapes(value) and shapes(value)[0] != (channels,) for value in call.values[1:]):
        raise UnsupportedError("a scale for each group")  # opset 18 to 20
    return [(GroupNormalization(groups, call.number("epsilon", 1e-5)), (0, 1, 2))]


def _lrn(call: Call) -> list[Reading]:
    if int(call.attributes["size"]) % 2 == 0:
        raise UnsupportedError(f"size={call.attributes['size']}")
    settings = (call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0))
    return [(LRN(int(call.attributes["size"]), *settings), (0,))]


def _batch_normalization(call: Call) -> list[Reading]:
    call.only("training_mode", 0)
    call.only("spatial", 1)  # up to opset 8
    if any(call.outputs[1:]):
        raise UnsupportedError("statistics as outputs")
    return [(BatchNormalization(call.number("epsilon", 1e-5)), (0, 1, 2, 3, 4))]


def _layer_normalization(call: Call) -> list[Reading]:
    if any(call.outputs[1:]):
        raise UnsupportedError("statistics as outputs")
    call.only("stash_type", 1)
    found = LayerNormalization(call.axis("axis", -1), call.number("epsilon", 1e-5))
    return [(found, _present(call))]


def _quantize(call: Call) -> list[Reading]:
    call.only("block_size", 0)
    number = int(call.number("output_dtype", 0))
    kind = str(call.constant(2).dtype) if call.has(2) else _KINDS.get(number, f"type {number}")
    if kind not in _RANGES:
        raise UnsupportedError(f"a grid of {kind}")
    return [(QuantizeLinear(*_RANGES[kind], axis=_channel(call)), _present(call))]


def _dequantize(call: Call) -> list[Reading]:
    call.only("block_size", 0)
    return [(DequantizeLinear(_channel(call)), _present(call))]


def _channel(call: Call) -> int:
    if call.constant(1).size == 1:
        return 0
    return call.axis("axis", 1)


LAYERS: dict[str, Converter] = {
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _group_normalization,
    "LRN": _lrn,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "QuantizeLinear": _quantize,
}
