"""One bit an image as rows of text: written and read back, and refused where rows do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.regression.packed_bits import packed, unpacked


@given(st.lists(st.booleans(), min_size=1, max_size=1200))
def test_bits_come_back(bits: list[bool]) -> None:
    mask = np.array(bits)
    rows = packed(mask)
    assert all(len(row) == 64 for row in rows[:-1])
    assert np.array_equal(unpacked(rows, len(bits)), mask)


@pytest.mark.parametrize(("rows", "n"), [(("ff",), 7), (("ff", "ff"), 16), (("ff",), 16), ((), 1)])
def test_bits_that_do_not_fit(rows: tuple[str, ...], n: int) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        unpacked(rows, n)
