"""Parts of a value: slices, gathered places, triangles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from harden.graph.batch_rules import along_axis, no_guarantee
from harden.graph.operation_graph import BATCH, Node
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.reshaping import Reshape
from harden.graph.operators.window_padding import Sizes
from harden.graph.reading.known_values import KnownValue, Size
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError, shapes


@final
@dataclass(frozen=True, slots=True)
class Slice:
    """x[starts : ends : steps] along axes; steps may be negative, as ONNX has them."""

    axes: Sizes
    starts: Sizes
    ends: Sizes
    steps: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        for axis, start, end, step in zip(self.axes, self.starts, self.ends, self.steps, strict=True):
            kept = range(x.shape[axis])[start:end:step]
            if step > 0:  # a view, and nothing to send to the device
                x = x[(slice(None),) * (axis % x.dim()) + (slice(kept.start, kept.stop, step),)]
            else:
                x = x.index_select(axis, torch.tensor(kept, dtype=torch.int64, device=x.device))
        return x


@final
@dataclass(frozen=True, slots=True)
class Gather:
    """The rows of x at `indices` along an axis; `shape` is the indices' own, () for a single one."""

    axis: int
    indices: Sizes
    shape: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """(..., A, ...) to (..., *shape, ...)."""
        places = torch.tensor(self.indices, dtype=torch.int64, device=x.device) % x.shape[self.axis]
        return x.index_select(self.axis, places).reshape(
            *x.shape[: self.axis], *self.shape, *x.shape[self.axis + 1 :]
        )


@final
@dataclass(frozen=True, slots=True)
class GatherND:
    """The values at `places` of the first `depth` dimensions, flattened; `shape` is the places' own."""

    depth: int
    places: Sizes
    shape: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """(A, ..., B, *rest) to (*shape, *rest)."""
        rest = x.shape[self.depth :]
        places = torch.tensor(self.places, dtype=torch.int64, device=x.device)
        flat = x.reshape(math.prod(x.shape[: self.depth]), *rest)
        return flat.index_select(0, places).reshape(*self.shape, *rest)


@final
@dataclass(frozen=True, slots=True)
class Trilu:
    """Matrices whose values on one side of the diagonal `k` are 0: the lower ones where `upper`."""

    k: int
    upper: bool

    def __call__(self, x: Tensor) -> Tensor:
        """(..., a, b)."""
        return x.triu(self.k) if self.upper else x.tril(self.k)


def _slice(call: NodeView) -> list[Reading]:
    if call.opset < 10:
        starts, ends = call.numbers("starts", ()), call.numbers("ends", ())
        steps: Size = (1,) * len(starts)
    else:
        starts, ends = call.integers(1), call.integers(2)
        steps = call.integers(4) if call.has(4) else (1,) * len(starts)
    axes = call.axes(3) or tuple(range(len(starts)))
    parts = [_part(call, *each) for each in zip(axes, starts, ends, steps, strict=True)]
    return [(Slice(axes, *(tuple(column) for column in zip(*parts, strict=True))), (0,))]


def _part(call: NodeView, axis: int, start: int, end: int, step: int) -> tuple[int, int, int]:
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


def _split(call: NodeView) -> list[Reading]:
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


def _gather(call: NodeView) -> list[Reading]:
    indices_ = call.values[1]
    if isinstance(indices_, KnownValue) and not indices_.constant:
        return _gather_in_each(call, indices_)
    indices = call.constant(1)
    places = tuple(int(number) for number in indices.flatten())
    axis = call.axis("axis", 0)
    size = call.shape[axis]
    if not all(-size <= place < size for place in places):
        raise UnsupportedError(f"indices outside the {size} of axis {axis}")
    return [(Gather(axis, places, indices.shape), (0,))]


def _gather_in_each(call: NodeView, indices: KnownValue) -> list[Reading]:
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


def _trilu(call: NodeView) -> list[Reading]:
    return [(Trilu(int(call.scalar(1)) if call.has(1) else 0, call.flag("upper", 1)), (0,))]


def _gather_nd(call: NodeView) -> list[Reading]:
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


_END: Final = 2**31 - 1


def _slice_rows(node: Node, given: Sequence[Size]) -> bool:
    operation, rank = node.operation, len(node.shape)
    if not isinstance(operation, Slice):
        return False
    parts = zip(operation.axes, operation.starts, operation.ends, operation.steps, strict=True)
    return all(axis % rank or ((start, step) == (0, 1) and end >= _END) for axis, start, end, step in parts)


def _matrix_rows(node: Node, given: Sequence[Size]) -> bool:
    return len(given[0]) >= 3


ROWS: Final = (
    Operator("Gather", _gather, {Gather: along_axis}),
    Operator("GatherND", _gather_nd, {GatherND: no_guarantee}),
    Operator("Slice", _slice, {Slice: _slice_rows}),
    Operator("Split", _split),
    Operator("Trilu", _trilu, {Trilu: _matrix_rows}),
)
