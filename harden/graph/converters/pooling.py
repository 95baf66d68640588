"""What a window, or an axis, is reduced to."""

from __future__ import annotations

from harden.graph.call import Call, Converter, Reading, UnsupportedError
from harden.graph.converters.windows import windows
from harden.graph.operations import AveragePool, MaxPool, ReduceMean, ReduceSum
from harden.graph.values import Size


def _pool(call: Call) -> tuple[Size, Size, Size, Size]:
    """Kernel, strides, pads and dilations, as the runtime takes them."""
    kernel = call.numbers("kernel_shape", ())
    strides, pads, dilations = windows(call, kernel)
    if any(pad >= width for pad, width in zip(pads, 2 * kernel, strict=True)):
        raise UnsupportedError(f"pads={list(pads)} that hold a whole kernel of {list(kernel)}")
    return kernel, strides, pads, dilations


def _max_pool(call: Call) -> list[Reading]:
    if call.outputs > 1:
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


def _reduce(call: Call) -> list[Reading]:
    axes = call.axes(1)
    if axes is None or not axes:
        if call.flag("noop_with_empty_axes"):
            raise UnsupportedError("noop_with_empty_axes=1")
        axes = tuple(range(call.rank))
    rule = ReduceMean if call.kind == "ReduceMean" else ReduceSum
    return [(rule(axes, call.flag("keepdims", 1)), (0,))]


POOLING: dict[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
}
