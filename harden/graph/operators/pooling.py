"""The maximum and the mean over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from torch import Tensor
from torch.nn import functional

from harden.graph.batch_rules import one_value
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.window_padding import Sizes, as_torch_has_them, rounded_up, split
from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError
from harden.graph.reading.window_attributes import windows


@final
@dataclass(frozen=True, slots=True)
class MaxPool:
    """The largest value of each window; what is padded counts as minus infinity."""

    kernel: Sizes
    strides: Sizes
    pads: Sizes
    dilations: Sizes
    ceil_mode: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, C, ...)."""
        pads = self.pads
        if self.ceil_mode:
            pads = rounded_up(tuple(x.shape[2:]), self.kernel, self.strides, pads, self.dilations)
        begins, ends = split(pads)
        # torch itself pads by half a window at most, and alike on both sides.
        if begins != ends or any(2 * pad > size for pad, size in zip(begins, self.kernel, strict=True)):
            x = functional.pad(x, as_torch_has_them(pads), value=float("-inf"))
            begins = (0,) * len(begins)
        rule = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(self.kernel) - 1]
        pooled: Tensor = rule(x, self.kernel, self.strides, begins, self.dilations)
        return pooled


@final
@dataclass(frozen=True, slots=True)
class AveragePool:
    """The mean over windows, that of the places inside the image unless `count_include_pad`."""

    kernel: Sizes
    strides: Sizes
    pads: Sizes
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, C, ...)."""
        begins, ends = split(self.pads)
        # torch itself pads by half a window at most, and alike on both sides.
        if begins == ends and all(2 * pad <= size for pad, size in zip(begins, self.kernel, strict=True)):
            rule = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(self.kernel) - 1]
            return rule(x, self.kernel, self.strides, begins, self.ceil_mode, self.count_include_pad)
        image, pads = tuple(x.shape[2:]), self.pads
        if self.ceil_mode:
            pads = rounded_up(image, self.kernel, self.strides, pads, (1,) * len(image))
        counted = x.new_ones(1, 1, *image)
        if self.count_include_pad:  # what `ceil_mode` adds at the end does not count
            counted = functional.pad(counted, as_torch_has_them(self.pads), value=1.0)
            pads_left = (
                *(0,) * len(image),
                *(end - old for end, old in zip(split(pads)[1], ends, strict=True)),
            )
        else:
            pads_left = pads
        return self._summed(x, pads) / self._summed(counted, pads_left)

    def _summed(self, x: Tensor, pads: Sizes) -> Tensor:
        """The sum over each window, the padding 0."""
        x = functional.pad(x, as_torch_has_them(pads))
        if len(self.kernel) == 1:
            kernel, strides = (*self.kernel, 1), (*self.strides, 1)
            return functional.avg_pool2d(x[..., None], kernel, strides, divisor_override=1)[..., 0]
        rule = functional.avg_pool2d if len(self.kernel) == 2 else functional.avg_pool3d
        return rule(x, self.kernel, self.strides, divisor_override=1)


def _pool(call: NodeView) -> tuple[Size, Size, Size, Size]:
    """Kernel, strides, pads and dilations, as the runtime takes them."""
    kernel = call.numbers("kernel_shape", ())
    strides, pads, dilations = windows(call, kernel)
    if any(pad >= width for pad, width in zip(pads, 2 * kernel, strict=True)):
        raise UnsupportedError(f"pads={list(pads)} that hold a whole kernel of {list(kernel)}")
    return kernel, strides, pads, dilations


def _max_pool(call: NodeView) -> list[Reading]:
    if any(call.outputs[1:]):
        raise UnsupportedError("the places of the maxima as an output")
    call.only("storage_order", 0)
    kernel, strides, pads, dilations = _pool(call)
    return [(MaxPool(kernel, strides, pads, dilations, call.flag("ceil_mode")), (0,))]


def _average_pool(call: NodeView) -> list[Reading]:
    kernel, strides, pads, dilations = _pool(call)
    if any(size != 1 for size in dilations):
        raise UnsupportedError(f"dilations={list(dilations)}")
    found = AveragePool(kernel, strides, pads, call.flag("ceil_mode"), call.flag("count_include_pad"))
    return [(found, (0,))]


def _global_max(call: NodeView) -> list[Reading]:
    kernel = spatial_sizes(call)
    ones = (1,) * len(kernel)
    return [(MaxPool(kernel, ones, (0, 0) * len(kernel), ones), (0,))]


def spatial_sizes(call: NodeView) -> Size:
    """Sizes behind the channels, at least one of them."""
    if call.rank < 3:
        raise UnsupportedError(f"images of shape {list(call.shape)}")
    return call.shape[2:]


ROWS: Final = (
    Operator("AveragePool", _average_pool, {AveragePool: one_value}),
    Operator("GlobalMaxPool", _global_max),
    Operator("MaxPool", _max_pool, {MaxPool: one_value}),
)
