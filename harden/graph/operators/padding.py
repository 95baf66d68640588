"""Padding by a constant, by reflection and by repetition; tiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

from torch import Tensor
from torch.nn import functional

from harden.graph.operation_graph import Node, Operation
from harden.graph.operators.indexing import Gather
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.reshaping import reshape
from harden.graph.operators.window_padding import Sizes, as_torch_has_them
from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError


@final
@dataclass(frozen=True, slots=True)
class Pad:
    """`value` around the last dimensions; pads as ONNX has them, negative ones cut. Constant mode alone."""

    pads: Sizes
    value: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.pad(x, as_torch_has_them(self.pads), value=self.value)


def _pad(call: NodeView) -> list[Reading]:
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


def _tile(call: NodeView) -> list[Reading]:
    repeats = call.integers(1)
    return _gathered(call, lambda axis, size: tuple(range(size)) * repeats[axis])


def _gathered(call: NodeView, rule: Callable[[int, int], Size]) -> list[Reading]:
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


def _chain(call: NodeView, found: list[Operation]) -> list[Reading]:
    return [(found or reshape(call, lambda shape: shape), (0,))]


def _pad_rows(node: Node, given: Sequence[Size]) -> bool:
    return isinstance(node.operation, Pad) and node.operation.pads[:: len(node.shape)] == (0, 0)


ROWS: Final = (
    Operator("Pad", _pad, {Pad: _pad_rows}),
    Operator("Tile", _tile),
)
