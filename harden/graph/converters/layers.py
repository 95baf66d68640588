"""Layers with weights, with windows, and those that quantise."""

from __future__ import annotations

from harden.graph.call import Call, Converter, Reading, UnsupportedError, shapes
from harden.graph.operations import (
    AveragePool,
    BatchNormalization,
    Conv,
    DequantizeLinear,
    Gemm,
    LayerNormalization,
    MatMul,
    MaxPool,
    QuantizeLinear,
    ReduceMean,
    ReduceSum,
)
from harden.graph.values import Size

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


def _conv(call: Call) -> list[Reading]:
    kernel = shapes(call.values[1])[0][2:]
    strides, pads, dilations = _windows(call, kernel)
    return [(Conv(strides, pads, dilations, int(call.number("group", 1))), _present(call))]


def _max_pool(call: Call) -> list[Reading]:
    if call.outputs > 1:
        raise UnsupportedError("the places of the maxima as an output")
    call.only("storage_order", 0)
    kernel = call.numbers("kernel_shape", ())
    strides, pads, dilations = _windows(call, kernel)
    return [(MaxPool(kernel, strides, pads, dilations, call.flag("ceil_mode")), (0,))]


def _average_pool(call: Call) -> list[Reading]:
    kernel = call.numbers("kernel_shape", ())
    strides, pads, dilations = _windows(call, kernel)
    if any(size != 1 for size in dilations):
        raise UnsupportedError(f"dilations={list(dilations)}")
    found = AveragePool(kernel, strides, pads, call.flag("ceil_mode"), call.flag("count_include_pad"))
    return [(found, (0,))]


def _global_average(call: Call) -> list[Reading]:
    return [(ReduceMean(tuple(range(2, call.rank))), (0,))]


def _global_max(call: Call) -> list[Reading]:
    kernel = call.shape[2:]
    ones = (1,) * len(kernel)
    return [(MaxPool(kernel, ones, (0, 0) * len(kernel), ones), (0,))]


def _reduce(call: Call) -> list[Reading]:
    axes = call.axes(1)
    if axes is None or not axes:
        if call.flag("noop_with_empty_axes"):
            raise UnsupportedError("noop_with_empty_axes=1")
        axes = tuple(range(call.rank))
    rule = ReduceMean if call.kind == "ReduceMean" else ReduceSum
    return [(rule(axes, call.flag("keepdims", 1)), (0,))]


def _batch_normalization(call: Call) -> list[Reading]:
    call.only("training_mode", 0)
    call.only("spatial", 1)  # up to opset 8
    if call.outputs > 1:
        raise UnsupportedError("statistics as outputs")
    return [(BatchNormalization(call.number("epsilon", 1e-5)), (0, 1, 2, 3, 4))]


def _layer_normalization(call: Call) -> list[Reading]:
    if call.outputs > 1:
        raise UnsupportedError("statistics as outputs")
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


def _windows(call: Call, kernel: Size) -> tuple[Size, Size, Size]:
    """Strides, pads and dilations, `auto_pad` resolved for the image's size."""
    axes = len(kernel)
    if call.rank != axes + 2:  # torch would take the batch for the channels
        raise UnsupportedError(f"a window of {axes} dimensions over {call.rank}")
    strides = call.numbers("strides", (1,) * axes)
    dilations = call.numbers("dilations", (1,) * axes)
    pads = call.numbers("pads", (0,) * (2 * axes))
    automatic = call.word("auto_pad", "NOTSET")
    if automatic.startswith("SAME") and any(size != 1 for size in dilations):
        # onnxruntime refuses it in convolutions, and pools over other windows than ONNX says.
        raise UnsupportedError(f"auto_pad={automatic} with dilations={list(dilations)}")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        image = call.shape[2:]
        needed = [
            max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
            for size, stride, width, dilation in zip(image, strides, kernel, dilations, strict=True)
        ]
        small = tuple(total // 2 for total in needed)
        large = tuple(total - half for total, half in zip(needed, small, strict=True))
        pads = small + large if automatic == "SAME_UPPER" else large + small
    elif automatic == "VALID":
        pads = (0,) * (2 * axes)
    return strides, pads, dilations


LAYERS: dict[str, Converter] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "QuantizeLinear": _quantize,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
}
