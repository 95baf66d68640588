"""Pixels that use a small part of their type's range: said, or refused where they are another range."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from harden.data.formats.pixel_range_checks import check_extent, conversion_advice, extent
from harden.errors import InputError


def look(kind: torch.dtype, high: float) -> None:
    check_extent(torch.zeros(1, 1, 1, 1, dtype=kind), 0.0, high, "set")


@pytest.mark.parametrize(
    ("kind", "high", "says"),
    [
        (torch.uint8, 1, "nothing but 0 and 1.*float32"),
        (torch.uint16, 1, "nothing but 0 and 1.*float32"),
        (torch.float32, 1 / 255, "second division"),
    ],
)
def test_another_range_is_refused(kind: torch.dtype, high: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        look(kind, high)


@pytest.mark.parametrize(
    ("kind", "high", "says"),
    [
        (torch.uint16, 4095, "0 to 4095: eps is a share of 65535; if white is 4095"),
        (torch.uint16, 1000, "if white is 1023"),
        (torch.uint8, 16, "if white is 31"),
        (torch.float32, 0.2, "eps is a share of 1; if white is 0.2"),
        (torch.uint8, 64, ""),
        (torch.uint16, 40_000, ""),
        (torch.float32, 0.9, ""),
        (torch.uint8, 0, ""),
    ],
)
def test_a_small_part_is_warned_of(
    kind: torch.dtype, high: float, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "harden"):
        look(kind, high)
    assert says in caplog.text
    assert bool(caplog.text) == bool(says)


def test_the_extent_is_of_all_parts() -> None:
    parts = [torch.tensor([3, 9], dtype=torch.uint16), torch.tensor([40_000], dtype=torch.uint16)]
    assert extent(parts) == (3, 40_000)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array([True, False]), "astype('float32')"),
        (np.array([0.0, 1.0]), "write x.astype('float32')"),
        (np.array([0.0, 255.0]), "bring them to [0, 1]: divide by 255"),
        (np.array([0, 1]), "astype('float32') for 0 and 1"),
        (np.array([0, 200]), "astype('uint8')"),
        (np.array([0, 4095]), "astype('uint16')"),
        (np.array([-1024, 3000]), "from -1024 to 3000: shift and scale"),
        (np.array([0, 10**6]), "by the range of your sensor"),
        (np.array(["a"]), "astype('uint8')"),
    ],
)
def test_advice_for_other_types_goes_by_the_values(array: Any, says: str) -> None:
    assert says in conversion_advice(array)
