"""Operators that move values: their shapes, axes and positions become attributes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harden.graph.converters.reshape_sizes import one_free, reshape
from harden.graph.operation_graph import BATCH
from harden.graph.operations import (
    Concat,
    Expand,
    Gather,
    GatherND,
    Reshape,
    Slice,
    Transpose,
    Trilu,
)
from harden.graph.reading.known_values import Known, Size
from harden.graph.reading.node_view import Call, Converter, Reading, UnsupportedError, shapes


def _reshape(call: Call) -> list[Reading]:
    target = call.values[1]
    if not isinstance(target, Known):
        raise UnsupportedError("a shape that depends on the images")
    found = [
        _resolved(np.atleast_1d(sizes).tolist(), shape, call.flag("allowzero"))
        for sizes, shape in zip(target.arrays, shapes(call.values[0]), strict=True)
    ]
    return [(Reshape(one_free(call, found)), (0,))]


def _resolved(sizes: list[int], shape: Size, zero_is_zero: bool) -> Size:
    """The shape that comes out of one that comes in: 0 keeps a size, -1 takes what is left."""
    if not zero_is_zero:
        sizes = [shape[at] if size == 0 and at < len(shape) else size for at, size in enumerate(sizes)]
    rest = math.prod(size for size in sizes if size != -1)
    return tuple(math.prod(shape) // max(rest, 1) if size == -1 else size for size in sizes)


def _shaped(call: Call, rule: Callable[[Size], Size]) -> list[Reading]:
    return [(reshape(call, rule), (0,))]


def _flatten(call: Call) -> list[Reading]:
    axis = call.axis("axis", 1)
    return _shaped(call, lambda shape: (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _squeeze(call: Call) -> list[Reading]:
    axes = call.axes(1)
    # Without axes a batch that the file fixes at 1 goes too.
    gone = [at for at, size in enumerate(call.shape) if size == 1] if axes is None else list(axes)
    if any(call.shape[at] != 1 for at in gone):
        raise UnsupportedError(f"axes {gone} of a shape {list(call.shape)}")
    return _shaped(call, lambda shape: tuple(size for at, size in enumerate(shape) if at not in gone))


def _unsqueeze(call: Call) -> list[Reading]:
    given = call.integers(1) if call.has(1) else call.numbers("axes", ())
    rank = call.rank + len(given)
    axes = sorted(axis + rank if axis < 0 else axis for axis in given)

    def rule(shape: Size) -> Size:
        sizes = list(shape)
        for axis in axes:
            sizes.insert(axis, 1)
        return tuple(sizes)

    return _shaped(call, rule)


def _identity(call: Call) -> list[Reading]:
    if call.kind == "Dropout" and any(call.outputs[1:]):
        raise UnsupportedError("a mask as an output")
    if call.kind == "Dropout" and call.has(2) and bool(call.constant(2)):
        raise UnsupportedError("training_mode=1")
    return _shaped(call, lambda shape: shape)


def _transpose(call: Call) -> list[Reading]:
    return [(Transpose(call.numbers("perm", tuple(reversed(range(call.rank))))), (0,))]


def _concat(call: Call) -> list[Reading]:
    return [(Concat(call.axis("axis", 0)), tuple(range(len(call.values))))]


def _slice(call: Call) -> list[Reading]:
    if call.opset < 10:
        starts, ends = call.numbers("starts", ()), call.numbers("ends", ())
        steps: Size = (1,) * len(starts)
    else:
        starts, ends = call.integers(1), call.integers(2)
        steps = call.integers(4) if call.has(4) else (1,) * len(starts)
    axes = call.axes(3) or tuple(range(len(starts)))
    parts = [_part(call, *each) for each in zip(axes, starts, ends, steps, strict=True)]
    return [(Slice(axes, *(tuple(column) for column in zip(*parts, strict=True))), (0,))]


def _part(call: Call, axis: int, start: int, end: int, step: int) -> tuple[int, int, int]:
    """Start, end and step as Python has them.

    Forward both agree. Backward ONNX begins within the dimension where Python would take nothing.

    Raises:
        UnsupportedError: onnxruntime differs from ONNX, or it depends on the batch's size.
    """
    if step >= 0:
        return start, end, step
    if end in (2**31 - 1, 2**63 - 1):
        raise UnsupportedError(f"a step of {step} up to the largest integer")
    if start < -1:
        size = call.shape[axis]
        if axis == 0:
            raise UnsupportedError(f"a step of {step} through the batch from {start}")
        start = max(start, -size)
    return start, end, step


def _split(call: Call) -> list[Reading]:
    axis = call.axis("axis", 0)
    size = call.shape[axis]
    if call.has(1):
        parts = call.integers(1)
    elif "split" in call.attributes:
        parts = call.numbers("split", ())
    else:
        each = -(-size // len(call.outputs))
        parts = tuple(min(each, size - at * each) for at in range(len(call.outputs)))
    if sum(parts) != size or len(parts) != len(call.outputs):
        raise UnsupportedError(f"{size} split into {list(parts)} for {len(call.outputs)} outputs")
    found: list[Reading] = []
    start = 0
    for part in parts:
        found.append((Slice((axis,), (start,), (start + part,), (1,)), (0,)))
        start += part
    return found


def _gather(call: Call) -> list[Reading]:
    indices_ = call.values[1]
    if isinstance(indices_, Known) and not indices_.constant:
        return _gather_in_each(call, indices_)
    indices = call.constant(1)
    places = tuple(int(number) for number in indices.flatten())
    axis = call.axis("axis", 0)
    size = call.shape[axis]
    if not all(-size <= place < size for place in places):
        raise UnsupportedError(f"indices outside the {size} of axis {axis}")
    return [(Gather(axis, places, indices.shape), (0,))]


def _gather_in_each(call: Call, indices: Known) -> list[Reading]:
    """From the values of all images in a row, the same places of each: what exporters make of a strided view.

    Image n's are the P values from n P on, and its indices those of the first image and n P.
    """
    rows = [shape[0] // batch for shape, batch in zip(shapes(call.values[0]), call.batches, strict=True)]
    first = indices.arrays[0][:1]
    inside = first.ndim > 0 and bool(((first >= 0) & (first < rows[0])).all())
    if call.rank != 1 or len(set(rows)) > 1 or not inside:
        raise UnsupportedError("input 1 that is not constant")
    for found, batch in zip(indices.arrays, call.batches, strict=True):
        starts = rows[0] * np.arange(batch).reshape(batch, *(1,) * (first.ndim - 1))
        if found.shape != (batch, *first.shape[1:]) or not np.array_equal(found, first + starts):
            raise UnsupportedError("input 1 that follows the batch in another way")
    places = tuple(int(number) for number in first.flatten())
    return [((Reshape((BATCH, rows[0])), Gather(1, places, first.shape[1:])), (0,))]


def _trilu(call: Call) -> list[Reading]:
    return [(Trilu(int(call.scalar(1)) if call.has(1) else 0, call.flag("upper", 1)), (0,))]


def _gather_nd(call: Call) -> list[Reading]:
    call.only("batch_dims", 0)
    indices, shape = call.constant(1), call.shape
    depth = indices.shape[-1]
    sizes = np.array(shape[:depth])
    if bool(((indices < -sizes) | (indices >= sizes)).any()):
        raise UnsupportedError(f"indices outside {sizes.tolist()}")
    if any(found[:depth] != shape[:depth] for found in shapes(call.values[0])):
        raise UnsupportedError("indices into the batch")
    places = (indices % sizes) @ np.array([math.prod(shape[at + 1 : depth]) for at in range(depth)])
    return [(GatherND(depth, tuple(places.flatten().tolist()), places.shape), (0,))]


def _expand(call: Call) -> list[Reading]:
    target = call.values[1]
    if isinstance(target, Known) and any(bool((array < 0).any()) for array in target.arrays):
        raise UnsupportedError(f"sizes {np.atleast_1d(target.arrays[0]).tolist()}")
    several = len(call.batches) > 1
    # In a shape of fewer dimensions than the value has, the first is not the batch's.
    sizes = call.sizes(1) if several or len(call.integers(1)) >= call.rank else call.integers(1)
    own = [shape[:1] == (batch,) for shape, batch in zip(shapes(call.values[0]), call.batches, strict=True)]
    if min(sizes, default=0) < 0 and not all(own):  # it can't tell the batch's size
        if several:
            raise UnsupportedError("what has no batch of its own, to the batch's size")
        sizes = call.integers(1)
    return [(Expand(sizes), (0, 0))]


SHAPING: dict[str, Converter] = {
    "Concat": _concat,
    "Dropout": _identity,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Identity": _identity,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
