"""Images of another size, by nearest neighbours or linear interpolation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from harden.graph.batch_rules import along_axis
from harden.graph.operation_graph import Operation
from harden.graph.operators.indexing import Gather
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.padding import _chain
from harden.graph.operators.window_padding import Sizes
from harden.graph.reading.known_values import KnownValue
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError, shapes


@final
@dataclass(frozen=True, slots=True)
class Interpolate:
    """(1 - share) x[before] + share x[after] along an axis: linear interpolation between two places.

    Args:
        axis: counted from the front.
        before: for each output the place on the left.
        after: the one on the right, or the same.
        shares: of the right one, in [0, 1].
        exact: whether float32 computes the shares without rounding, in whatever way.
    """

    axis: int
    before: Sizes
    after: Sizes
    shares: tuple[float, ...]
    exact: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        left, right = (
            x.index_select(self.axis, torch.tensor(places, dtype=torch.int64, device=x.device))
            for places in (self.before, self.after)
        )
        share = torch.tensor(self.shares, dtype=x.dtype, device=x.device)
        share = share.reshape(-1, *(1,) * (x.dim() - 1 - self.axis))
        return (1 - share) * left + share * right


_HALF = Fraction(1, 2)


_NEAR = Fraction(1, 1000)
"""Positions so near to where a rounding turns are refused, for runtimes compute them in float32."""


def _resize(call: NodeView) -> list[Reading]:
    mode = call.word("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise UnsupportedError(f"mode={mode}")
    if call.flag("antialias") or call.flag("exclude_outside"):
        raise UnsupportedError("antialias=1 or exclude_outside=1")
    call.only("keep_aspect_ratio_policy", "stretch")
    sizes = _sizes(call)
    if tuple(size for size, _ in sizes) == call.shape and any(scale != 1 for _, scale in sizes):
        # Where no size changes onnxruntime copies, whatever the scales say.
        raise UnsupportedError(f"scales {[float(scale) for _, scale in sizes]} that change no size")
    found: list[Operation] = []
    for axis, (size, scale) in enumerate(sizes):
        before = call.shape[axis]
        if size == before and scale == 1:
            continue
        if axis == 0:
            raise UnsupportedError("a batch of another size")
        places = [_place(call, at, scale, before, size) for at in range(size)]
        if mode == "nearest":
            nearest = tuple(min(max(_nearest(call, place), 0), before - 1) for place in places)
            found.append(Gather(axis, nearest, (size,)))
        else:
            inside = [min(max(place, Fraction(0)), Fraction(before - 1)) for place in places]
            found.append(_interpolated(axis, inside, before, scale))
    return _chain(call, found)


def _sizes(call: NodeView) -> list[tuple[int, Fraction]]:
    """By axis how many places there will be, and the scale as the runtime has it, in float32."""
    rank = call.rank
    axes = [axis % rank for axis in call.numbers("axes", tuple(range(rank)))]
    found = [(size, Fraction(1)) for size in call.shape]
    at = 1 if call.kind == "Upsample" or call.opset < 11 else 2
    if call.kind == "Upsample" and call.opset < 9:
        scales = np.array(call.attributes["scales"], np.float32)
    elif call.has(at) and call.constant(at).size:
        scales = call.constant(at).astype(np.float32)
    else:
        for axis, size in zip(axes, _requested(call, axes), strict=True):
            found[axis] = size, Fraction(float(np.float32(size) / np.float32(call.shape[axis])))
        return found
    for axis, scale in zip(axes, scales, strict=True):
        exact = Fraction(float(scale))
        if exact <= 0:
            raise UnsupportedError(f"a scale of {float(scale)}")
        wide = float(np.float32(call.shape[axis]) * scale)
        if wide % 1 and call.word("coordinate_transformation_mode", "").endswith("align_corners"):
            # ONNX aligns the corners of images of a broken size, runtimes those of whole ones.
            raise UnsupportedError(f"align_corners to {wide:.6g} places")
        found[axis] = math.floor(wide), exact
    return found


def _requested(call: NodeView, axes: list[int]) -> list[int]:
    """The sizes that the node requests: the batch's, if it is among them, is the batch."""
    value = call.values[3] if call.has(3) else None
    if not isinstance(value, KnownValue):
        raise UnsupportedError("sizes that depend on the images")
    lists = [array.tolist() for array in value.arrays]
    own = [shape[0] for shape in shapes(call.values[0])]
    if 0 in axes and [each[axes.index(0)] for each in lists] != own:
        raise UnsupportedError("a batch of another size")
    rest = [[size for axis, size in zip(axes, each, strict=True) if axis] for each in lists]
    if any(each != rest[0] for each in rest):
        raise UnsupportedError("sizes that depend on the batch's")
    return [int(size) for size in lists[0]]


def _place(call: NodeView, at: int, scale: Fraction, before: int, size: int) -> Fraction:
    """The position in the input of an output's place."""
    default = "asymmetric" if call.kind == "Upsample" or call.opset < 11 else "half_pixel"
    kind = call.word("coordinate_transformation_mode", default)
    if kind == "half_pixel" or (kind == "pytorch_half_pixel" and size > 1):
        return (at + _HALF) / scale - _HALF
    if kind == "pytorch_half_pixel":
        return Fraction(0)
    if kind == "asymmetric":
        return at / scale
    if kind == "align_corners":
        return Fraction(at * (before - 1), size - 1) if size > 1 else Fraction(0)
    raise UnsupportedError(f"coordinate_transformation_mode={kind}")


def _nearest(call: NodeView, place: Fraction) -> int:
    kind = call.word("nearest_mode", "round_prefer_floor")
    if call.kind == "Upsample" or call.opset < 11:
        kind = "floor"
    turn = _HALF if kind.startswith("round") else Fraction(0)
    apart = abs((place - turn) - round(place - turn))
    if 0 < apart < _NEAR:
        raise UnsupportedError(f"a place {float(place)} that runtimes round differently")
    match kind:
        case "round_prefer_floor":
            return math.ceil(place - _HALF)
        case "round_prefer_ceil":
            return math.floor(place + _HALF)
        case "floor":
            return math.floor(place)
        case "ceil":
            return math.ceil(place)
    raise UnsupportedError(f"nearest_mode={kind}")


def _interpolated(axis: int, places: list[Fraction], size: int, scale: Fraction) -> Interpolate:
    left = [min(math.floor(place), size - 1) for place in places]
    right = [min(place + 1, size - 1) for place in left]
    shares = [place - before for place, before in zip(places, left, strict=True)]
    # A power of two divides without rounding, and few digits behind the point survive all else.
    power = (scale.numerator & (scale.numerator - 1)) == (scale.denominator & (scale.denominator - 1)) == 0
    exact = power and all(1024 % share.denominator == 0 for share in shares) and size < 2**12
    return Interpolate(axis, tuple(left), tuple(right), tuple(float(share) for share in shares), exact)


ROWS: Final = (
    Operator("Resize", _resize, {Interpolate: along_axis}),
    Operator("Upsample", _resize),
)
