"""Reshapes whose sizes follow from what comes in."""

from __future__ import annotations

from collections.abc import Callable

from harden.graph.operations import Reshape
from harden.graph.reading.known_values import Size, shape_of
from harden.graph.reading.node_view import Call, UnsupportedError, shapes


def reshape(call: Call, rule: Callable[[Size], Size]) -> Reshape:
    """To what a rule makes of the shape that comes in.

    Raises:
        UnsupportedError: torch has no such reshape.
    """
    return Reshape(one_free(call, [rule(shape) for shape in shapes(call.values[0])]))


def one_free(call: Call, found: list[Size]) -> Size:
    """What torch's reshape takes: -1 for the one size that follows the batch.

    Raises:
        UnsupportedError: two do, or one in another way than as a multiple.
    """
    try:
        shape = shape_of(found, call.batches)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
    free = [size for size in shape if size < 0]
    if len(free) > 1:
        raise UnsupportedError(f"a shape {shape} with the batch in two places")
    return tuple(max(size, -1) for size in shape)
