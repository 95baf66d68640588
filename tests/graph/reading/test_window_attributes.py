"""Strides, pads and dilations of windows: defaults, automatic padding by its formula, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from harden.graph.reading.known_values import ComputedValue
from harden.graph.reading.node_view import NodeView, UnsupportedError
from harden.graph.reading.window_attributes import windows


def view(*size: int, kind: str = "Conv", **attributes: Any) -> NodeView:
    """A node on images of a size, for two batch sizes."""
    value = ComputedValue(tuple((batch, 3, *size) for batch in (2, 3)))
    return NodeView(kind, attributes, (value,), 18, (2, 3), (True,))


def test_defaults_are_a_step_of_1_without_padding() -> None:
    assert windows(view(9, 9), (3, 2)) == ((1, 1), (0, 0, 0, 0), (1, 1))
    given: dict[str, Any] = {"strides": [2, 1], "pads": [0, 1, 2, 3], "dilations": [1, 2]}
    assert windows(view(9, 9, **given), (3, 2)) == ((2, 1), (0, 1, 2, 3), (1, 2))
    assert windows(view(9, 9, pads=[1, 1, 1, 1], auto_pad="VALID"), (3, 2))[1] == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "total"),
    [(9, 1, 3, 2), (9, 2, 3, 2), (8, 2, 3, 1), (7, 3, 4, 3), (6, 3, 3, 0), (9, 1, 4, 3)],
)
def test_same_padding_gives_as_many_windows_as_steps(size: int, stride: int, kernel: int, total: int) -> None:
    """(ceil(size / stride) - 1) stride + kernel - size in all; what is odd lies at the end, or in front."""
    for kind, small in (("SAME_UPPER", total // 2), ("SAME_LOWER", total - total // 2)):
        pads = windows(view(size, strides=[stride], auto_pad=kind.encode()), (kernel,))[1]
        assert pads == (small, total - small)
        assert (size + sum(pads) - kernel) // stride + 1 == -(-size // stride)


@pytest.mark.parametrize(
    ("call", "kernel", "said"),
    [
        (view(9, 9), (3,), "a window of 1 dimensions over 4"),
        (view(9), (3, 3), "a window of 2 dimensions over 3"),
        (view(9, auto_pad="SAME_UPPER", dilations=[2]), (3,), r"auto_pad=SAME_UPPER with dilations=\[2\]"),
        (view(9, auto_pad="SAME_UPPER", strides=[5]), (1,), r"strides=\[5\] past a kernel of \[1\]"),
        (view(8, auto_pad="SAME_LOWER", strides=[4]), (1,), r"strides=\[4\] past a kernel of \[1\]"),
        (view(8, kind="MaxPool", auto_pad="SAME_UPPER", strides=[2]), (1,), "past a kernel"),
    ],
)
def test_windows_on_which_runtimes_differ(call: NodeView, kernel: tuple[int, ...], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        windows(call, kernel)


def test_a_gap_behind_the_last_window_is_no_padding() -> None:
    """Where both a cut and a padding by 0 give the same windows."""
    assert windows(view(8, auto_pad="SAME_UPPER", strides=[2]), (1,))[1] == (0, 0)
