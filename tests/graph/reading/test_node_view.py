"""A node's attributes and inputs as converters see them: types, defaults, sizes that follow the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harden.graph.reading.known_values import ComputedValue, KnownValue, Value
from harden.graph.reading.node_view import NodeView, UnsupportedError, shapes

BATCHES = (2, 3, 5)
IMAGES = ComputedValue(tuple((batch, 4, 6) for batch in BATCHES))


def known(*arrays: Any) -> KnownValue:
    """The same numbers for every batch size, or one array for each."""
    return KnownValue(tuple(np.array(each) for each in (arrays * 3 if len(arrays) == 1 else arrays)))


def view(*values: Value | None, **attributes: Any) -> NodeView:
    return NodeView("Some", attributes, (IMAGES, *values), 18, BATCHES, (True,))


def test_attributes_have_their_types_and_defaults() -> None:
    call = view(alpha=0.1, word=b"edge", flag=1, list=[1, 2])
    assert call.number("alpha", 1) == float(np.float32(0.1))  # as the runtime holds it
    assert (call.number("beta", 0.5), call.flag("flag"), call.flag("other", 1)) == (0.5, True, True)
    assert (call.word("word", ""), call.word("other", "constant")) == ("edge", "constant")
    assert (call.numbers("list", ()), call.numbers("other", (7,))) == ((1, 2), (7,))
    call.only("word", "edge")
    call.only("other", 3)
    with pytest.raises(UnsupportedError, match="word=edge"):
        call.only("word", "constant")


def test_axes_are_counted_from_the_front() -> None:
    assert (view().shape, view().rank) == ((2, 4, 6), 3)
    assert (view(axis=-1).axis("axis", 0), view().axis("axis", -2)) == (2, 1)
    assert view(known([-1, 0])).axes(1) == (2, 0)
    assert view(axes=[-2]).axes(1) == (1,)
    assert view().axes(1) is None


def test_inputs_that_are_left_out() -> None:
    call = view(None, known(1.5))
    assert (call.has(0), call.has(1), call.has(2), call.has(3)) == (True, False, True, False)
    assert call.present == (0, 2)
    assert shapes(None) == ()
    assert shapes(known([1, 2])) == ((2,),) * 3


def test_constants_are_the_same_for_every_batch() -> None:
    call = view(known([[1.5]]), known([2, 3]), known([2], [3], [5]))
    assert call.scalar(1) == 1.5
    assert call.integers(2) == (2, 3)
    with pytest.raises(UnsupportedError, match="input 2 of 2 numbers instead of one"):
        call.scalar(2)
    for at in (0, 3):
        with pytest.raises(UnsupportedError, match=f"input {at} that is not constant"):
            call.constant(at)


def test_a_shape_follows_the_batch_in_its_first_place() -> None:
    assert view(known([2, 24], [3, 24], [5, 24])).sizes(1) == (-1, 24)
    assert view(known([7, 24])).sizes(1) == (7, 24)
    for lists in (([4], [6], [10]), ([3, 4], [4, 4], [6, 4])):
        with pytest.raises(UnsupportedError, match="sizes"):
            view(known(*lists)).sizes(1)
    with pytest.raises(UnsupportedError, match="a shape that depends on the images"):
        view(IMAGES).sizes(1)
