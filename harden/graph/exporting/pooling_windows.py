"""Correction of exported pools whose last window torch omits and ONNX does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import onnx
from onnx import helper

from harden.errors import ExportError

_POOLS: Final = frozenset({"MaxPool", "AveragePool"})
_ROUNDED_UP: Final = "ceil_mode"


def drop_empty_windows(model: onnx.ModelProto) -> None:
    """Count the windows of pools as torch does, in place.

    With `ceil_mode` torch leaves out a last window that begins in the padding behind the image, a maximum
    over no pixel. ONNX's shape inference counts it. Along such an axis there are as many windows as without
    `ceil_mode`, which is what is written; an axis that needs `ceil_mode` gets the padding that does the same.

    Raises:
        ExportError: the size of the images in front of such a pool is not known, or a runtime has no padding
            for one axis that needs `ceil_mode` and another that must not have it.
    """
    sizes = dict(_sizes(model.graph))
    for node in model.graph.node:
        if node.op_type in _POOLS and _attribute(node, _ROUNDED_UP, 0):
            image = sizes.get(node.input[0])
            if image is None:
                raise _refusal(node, "images whose size is not known")
            axes = _axes(node, image)
            if any(axis.last_is_empty for axis in axes):
                _round_down(node, axes, image)


@final
@dataclass(frozen=True, slots=True)
class _Axis:
    """A pool along one axis: size of the image, width, stride, dilation, padding before and after."""

    size: int
    width: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def _reach(self) -> int:
        return self.dilation * (self.width - 1) + 1

    @property
    def _rounded_up(self) -> int:
        """The beginning of the window that `ceil_mode` adds; behind the image if it adds none."""
        free = self.size + self.before + self.after - self._reach
        return -(-free // self.stride) * self.stride

    @property
    def adds_one(self) -> bool:
        """True if `ceil_mode` adds a window."""
        return self._rounded_up + self._reach > self.size + self.before + self.after

    @property
    def last_is_empty(self) -> bool:
        """True if that window begins behind the image."""
        return self.adds_one and self._rounded_up >= self.size + self.before

    @property
    def end(self) -> int:
        """The padding after the image with which there are torch's windows without `ceil_mode`."""
        if self.adds_one and not self.last_is_empty:
            return self._rounded_up + self._reach - self.size - self.before
        return self.after


def _axes(node: onnx.NodeProto, image: Sequence[int]) -> list[_Axis]:
    width = _attribute(node, "kernel_shape", ())
    rank = len(width)
    pads = _attribute(node, "pads", [0] * (2 * rank))
    strides, dilations = (_attribute(node, name, [1] * rank) for name in ("strides", "dilations"))
    parts = zip(image, width, strides, dilations, pads[:rank], pads[rank:], strict=True)
    return [_Axis(*part) for part in parts]


def _round_down(node: onnx.NodeProto, axes: Sequence[_Axis], image: Sequence[int]) -> None:
    padded = [axis for axis in axes if axis.end != axis.after]
    # onnxruntime takes no padding of a whole width, and divides an average by whole windows.
    averaged = node.op_type == "AveragePool" and bool(_attribute(node, "count_include_pad", 0))
    if any(averaged or axis.end >= axis.width for axis in padded):
        raise _refusal(node, f"images of {'x'.join(map(str, image))}")
    pads = [*(axis.before for axis in axes), *(axis.end for axis in axes)]
    kept = [each for each in node.attribute if each.name not in (_ROUNDED_UP, "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", pads)])


def _refusal(node: onnx.NodeProto, images: str) -> ExportError:
    kind = "a max" if node.op_type == "MaxPool" else "an average"
    return ExportError(
        f"{kind} pool with ceil_mode over {_attribute(node, 'kernel_shape', ())} pixels on {images}",
        "a last window that begins inside the image, on every axis",
        "write ceil_mode=False, and pad the images before it with nn.functional.pad",
    )


def _sizes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Heights and widths of the values of which they are known."""
    for value in (*graph.input, *graph.value_info):
        dims = value.type.tensor_type.shape.dim[2:]
        if dims and all(dim.HasField("dim_value") for dim in dims):
            yield value.name, tuple(dim.dim_value for dim in dims)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
