"""What a window, or an axis, is reduced to."""

from __future__ import annotations

import math

from harden.graph.converters.reshape_sizes import reshape
from harden.graph.converters.window_attributes import windows
from harden.graph.operations import (
    Abs,
    AveragePool,
    CumSum,
    Log,
    MaxPool,
    Neg,
    Operation,
    Pow,
    ReduceL2,
    ReduceLogSumExp,
    ReduceMean,
    ReduceProd,
    ReduceSum,
    Transpose,
)
from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import Call, Converter, Reading, UnsupportedError


def _pool(call: Call) -> tuple[Size, Size, Size, Size]:
    """Kernel, strides, pads and dilations, as the runtime takes them."""
    kernel = call.numbers("kernel_shape", ())
    strides, pads, dilations = windows(call, kernel)
    if any(pad >= width for pad, width in zip(pads, 2 * kernel, strict=True)):
        raise UnsupportedError(f"pads={list(pads)} that hold a whole kernel of {list(kernel)}")
    return kernel, strides, pads, dilations


def _max_pool(call: Call) -> list[Reading]:
    if any(call.outputs[1:]):
        raise UnsupportedError("the places of the maxima as an output")
    call.only("storage_order", 0)
    kernel, strides, pads, dilations = _pool(call)
    return [(MaxPool(kernel, strides, pads, dilations, call.flag("ceil_mode")), (0,))]


def _average_pool(call: Call) -> list[Reading]:
    kernel, strides, pads, dilations = _pool(call)
    if any(size != 1 for size in dilations):
        raise UnsupportedError(f"dilations={list(dilations)}")
    found = AveragePool(kernel, strides, pads, call.flag("ceil_mode"), call.flag("count_include_pad"))
    return [(found, (0,))]


def _global_average(call: Call) -> list[Reading]:
    return [(ReduceMean(tuple(range(2, 2 + len(_image(call))))), (0,))]


def _global_max(call: Call) -> list[Reading]:
    kernel = _image(call)
    ones = (1,) * len(kernel)
    return [(MaxPool(kernel, ones, (0, 0) * len(kernel), ones), (0,))]


def _image(call: Call) -> Size:
    """Sizes behind the channels, at least one of them."""
    if call.rank < 3:
        raise UnsupportedError(f"images of shape {list(call.shape)}")
    return call.shape[2:]


def _axes(call: Call) -> tuple[Size, bool]:
    """What is reduced, counted from the front, and whether the axes stay as 1."""
    axes = call.axes(1)
    if axes is None or not axes:
        if call.flag("noop_with_empty_axes"):
            raise UnsupportedError("noop_with_empty_axes=1")
        axes = tuple(range(call.rank))
    return axes, call.flag("keepdims", 1)


def _reduce(call: Call) -> list[Reading]:
    settings = _axes(call)
    rules: dict[str, tuple[Operation, ...]] = {
        "ReduceL1": (Abs(), ReduceSum(*settings)),
        "ReduceL2": (ReduceL2(*settings),),
        "ReduceLogSum": (ReduceSum(*settings), Log()),
        "ReduceLogSumExp": (ReduceLogSumExp(*settings),),
        "ReduceMean": (ReduceMean(*settings),),
        "ReduceProd": (ReduceProd(*settings),),
        "ReduceSum": (ReduceSum(*settings),),
        "ReduceSumSquare": (Pow(2.0), ReduceSum(*settings)),
    }
    return [(rules[call.kind], (0,))]


def _extreme(call: Call) -> list[Reading]:
    """The largest value over axes: of a window that holds all of them, moved to the end."""
    axes, kept = _axes(call)
    if 0 in axes:
        raise UnsupportedError("a maximum over the batch")
    rest = tuple(axis for axis in range(call.rank) if axis not in axes)
    width = math.prod(call.shape[axis] for axis in axes)
    lines = math.prod(call.shape[axis] for axis in rest if axis)

    def sizes(shape: Size) -> Size:
        if kept:
            return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return tuple(shape[axis] for axis in rest)

    found: tuple[Operation, ...] = (
        Transpose((*rest, *axes)),
        reshape(call, lambda shape: (shape[0], lines, width)),
        MaxPool((width,), (width,), (0, 0), (1,)),
        reshape(call, sizes),
    )
    return [(found if call.kind == "ReduceMax" else (Neg(), *found[:3], Neg(), found[3]), (0,))]


def _cumulated(call: Call) -> list[Reading]:
    axis = int(call.scalar(1)) % call.rank
    return [(CumSum(axis, call.flag("exclusive"), call.flag("reverse")), (0,))]


POOLING: dict[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "MaxPool": _max_pool,
    "CumSum": _cumulated,
    "ReduceL1": _reduce,
    "ReduceL2": _reduce,
    "ReduceLogSum": _reduce,
    "ReduceLogSumExp": _reduce,
    "ReduceMax": _extreme,
    "ReduceMean": _reduce,
    "ReduceMin": _extreme,
    "ReduceProd": _reduce,
    "ReduceSum": _reduce,
    "ReduceSumSquare": _reduce,
}
