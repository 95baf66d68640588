"""The channel axis is inferred from the shape, given by the user, or refused as ambiguous."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harden.data import Examples
from harden.data.formats.channel_axis import ImageLayout, check_channels_last, likely_layout, parse_layout
from harden.errors import InputError


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((32, 32, 3), ImageLayout.LAST),
        ((6, 5, 3), ImageLayout.LAST),
        ((28, 28, 1), ImageLayout.LAST),
        ((64, 64, 13), ImageLayout.LAST),
        ((64, 64, 4), ImageLayout.LAST),
        ((8, 8, 13), ImageLayout.LAST),
        ((48, 64, 2), ImageLayout.LAST),
        ((3, 32, 32), ImageLayout.FIRST),
        ((13, 64, 64), ImageLayout.FIRST),
        ((4, 64, 64), ImageLayout.FIRST),
        ((2, 48, 64), ImageLayout.FIRST),
        ((8, 8, 8), None),
        ((4, 64, 4), None),
        ((3, 64, 3), None),
        ((6, 5, 8), None),
    ],
)
def test_likely_layout(shape: tuple[int, int, int], layout: ImageLayout | None) -> None:
    assert likely_layout(shape) is layout


def test_what_is_not_channels_last_is_refused_unless_it_is_named() -> None:
    with pytest.raises(InputError, match=r"transpose\(0, 2, 3, 1\), or store layout=\"NHWC\""):
        check_channels_last((9, 13, 64, 64), "x")
    with pytest.raises(InputError, match=r"may be \(N, H, W, C\) or \(N, C, H, W\).*layout="):
        check_channels_last((9, 8, 8, 8), "x")
    assert check_channels_last((9, 64, 64, 13), "x")
    assert check_channels_last((9, 8, 8, 8), "x", ImageLayout.LAST)
    assert not check_channels_last((9, 8, 8, 8), "x", ImageLayout.FIRST)


@pytest.mark.parametrize(
    ("value", "layout"),
    [
        (None, None),
        ("nchw", ImageLayout.FIRST),
        (np.array("NHWC"), ImageLayout.LAST),
        (np.array(["NCHW"]), ImageLayout.FIRST),
        (np.array(b"NCHW"), ImageLayout.FIRST),
    ],
)
def test_layouts_by_name(value: Any, layout: ImageLayout | None) -> None:
    assert parse_layout(value, "x") is layout


@pytest.mark.parametrize("value", ["CHW", 3, np.array(["NCHW", "NHWC"]), np.zeros(2)])
def test_other_names_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="NHWC or NCHW"):
        parse_layout(value, "x")


def test_tensors_with_channels_last_are_refused() -> None:
    for shape in ((6, 64, 64, 13), (6, 8, 8, 4), (6, 32, 32, 3)):
        with pytest.raises(InputError, match="permute"):
            Examples(torch.rand(*shape), torch.zeros(6, dtype=torch.int64), ("a",))
    Examples(torch.rand(6, 13, 64, 64), torch.zeros(6, dtype=torch.int64), ("a",))
