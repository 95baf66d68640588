"""Padding of windows that are rounded up: no window begins in the padding at the end."""

from __future__ import annotations

import torch
from torch.nn import functional

from harden.graph.operators.window_padding import as_torch_has_them, padded, rounded_up, split


def test_rounding_up_begins_no_window_in_the_padding_at_the_end() -> None:
    # 8 places and 2 of padding, a window every third: one at 6 is left, one at 9 would see padding alone.
    assert rounded_up((8,), (3,), (3,), (0, 2), (1,)) == (0, 1)
    # A last window that leaves places of the image out.
    assert rounded_up((8,), (2,), (3,), (0, 0), (1,)) == (0, 0)
    assert rounded_up((9,), (1,), (3,), (0, 0), (1,)) == (0, -2)


def test_pads_as_torch_has_them_and_their_halves() -> None:
    assert split((1, 2, 3, 4)) == ((1, 2), (3, 4))
    assert as_torch_has_them((1, 2, 3, 4)) == [2, 4, 1, 3]
    x = torch.ones(1, 1, 2, 2)
    assert functional.pad(x, as_torch_has_them((1, 0, 0, 2))).tolist() == [
        [[[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]]
    ]


def test_what_torch_pads_itself_is_left_to_it() -> None:
    """Pads that are alike on both sides; others are made around the values."""
    x = torch.ones(1, 1, 2)
    same, left = padded(x, (2, 2), 0.0)
    assert same is x
    assert left == (2,)
    wide, left = padded(x, (0, 1), -1.0)
    assert wide.tolist() == [[[1, 1, -1]]]
    assert left == (0,)
