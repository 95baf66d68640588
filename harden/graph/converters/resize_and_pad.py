"""Images made larger or smaller: by interpolation, by repetition, by what surrounds them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from harden.graph.converters.reshape_sizes import reshape
from harden.graph.operations import Gather, Interpolate, Operation, Pad, Transpose
from harden.graph.reading.known_values import Known, Size
from harden.graph.reading.node_view import Call, Converter, Reading, UnsupportedError, shapes

_HALF = Fraction(1, 2)
_NEAR = Fraction(1, 1000)
"""Positions so near to where a rounding turns are refused, for runtimes compute them in float32."""


def _pad(call: Call) -> list[Reading]:
    mode = call.word("mode", "constant")
    if call.opset < 11:
        pads, value = call.numbers("pads", ()), call.number("value", 0)
    else:
        pads, value = call.integers(1), call.scalar(2) if call.has(2) else 0.0
    if call.has(3):
        axes, rank = call.integers(3), call.rank
        full = [0] * (2 * rank)
        for at, axis in enumerate(axes):
            full[axis % rank], full[rank + axis % rank] = pads[at], pads[len(axes) + at]
        pads = tuple(full)
    if mode == "constant":
        return [(Pad(pads, value), (0,))]
    if mode not in ("reflect", "edge", "wrap") or min(pads) < 0:
        raise UnsupportedError(f"mode={mode} with pads={list(pads)}")
    return _gathered(call, lambda axis, size: _surrounded(mode, size, pads[axis], pads[call.rank + axis]))


def _surrounded(mode: str, size: int, before: int, after: int) -> Size:
    """Places of an axis in the order in which they come with what is around them.

    Raises:
        UnsupportedError: more than there is to mirror or to repeat.
    """
    most = {"reflect": size - 1, "wrap": size}.get(mode, before + after)
    if before > most or after > most:
        raise UnsupportedError(f"mode={mode} by {max(before, after)} of {size}")
    places = range(-before, size + after)
    if mode == "edge":
        return tuple(min(max(place, 0), size - 1) for place in places)
    if mode == "wrap":
        return tuple(place % size for place in places)
    return tuple(size - 1 - abs(size - 1 - abs(place)) for place in places)


def _tile(call: Call) -> list[Reading]:
    repeats = call.integers(1)
    return _gathered(call, lambda axis, size: tuple(range(size)) * repeats[axis])


def _gathered(call: Call, rule: Callable[[int, int], Size]) -> list[Reading]:
    """Along each axis the places that a rule names; the batch's stay."""
    found: list[Operation] = []
    for axis in range(call.rank):
        size = call.shape[axis]
        places = rule(axis, size)
        if places == tuple(range(size)):
            continue
        if axis == 0:
            raise UnsupportedError("a batch of another size")
        found.append(Gather(axis, places, (len(places),)))
    return _chain(call, found)


def _chain(call: Call, found: list[Operation]) -> list[Reading]:
    return [(found or reshape(call, lambda shape: shape), (0,))]


def _resize(call: Call) -> list[Reading]:
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


def _sizes(call: Call) -> list[tuple[int, Fraction]]:
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
        for axis, size in zip(axes, _wanted(call, axes), strict=True):
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


def _wanted(call: Call, axes: list[int]) -> list[int]:
    """The sizes that are asked for: the batch's, if it is among them, is the batch."""
    value = call.values[3] if call.has(3) else None
    if not isinstance(value, Known):
        raise UnsupportedError("sizes that depend on the images")
    lists = [array.tolist() for array in value.arrays]
    own = [shape[0] for shape in shapes(call.values[0])]
    if 0 in axes and [each[axes.index(0)] for each in lists] != own:
        raise UnsupportedError("a batch of another size")
    rest = [[size for axis, size in zip(axes, each, strict=True) if axis] for each in lists]
    if any(each != rest[0] for each in rest):
        raise UnsupportedError("sizes that depend on the batch's")
    return [int(size) for size in lists[0]]


def _place(call: Call, at: int, scale: Fraction, before: int, size: int) -> Fraction:
    """Where an output's place lies in the input."""
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


def _nearest(call: Call, place: Fraction) -> int:
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


def _depth_to_space(call: Call) -> list[Reading]:
    mode, block = call.word("mode", "DCR"), int(call.number("blocksize", 0))
    if mode not in ("DCR", "CRD"):
        raise UnsupportedError(f"mode={mode}")
    _, channels, height, width = call.shape
    left = channels // block**2
    split = (block, block, left) if mode == "DCR" else (left, block, block)
    perm = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    return _blocks(call, (*split, height, width), perm, (left, height * block, width * block))


def _space_to_depth(call: Call) -> list[Reading]:
    block = int(call.number("blocksize", 0))
    _, channels, height, width = call.shape
    sizes = (channels, height // block, block, width // block, block)
    return _blocks(call, sizes, (0, 3, 5, 1, 2, 4), (channels * block**2, height // block, width // block))


def _blocks(call: Call, split: Size, perm: Size, sizes: Size) -> list[Reading]:
    before = reshape(call, lambda shape: (shape[0], *split))
    after = reshape(call, lambda shape: (shape[0], *sizes))
    return [((before, Transpose(perm), after), (0,))]


RESIZING: dict[str, Converter] = {
    "DepthToSpace": _depth_to_space,
    "Pad": _pad,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
    "Tile": _tile,
    "Upsample": _resize,
}
