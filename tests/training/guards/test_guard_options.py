from __future__ import annotations

import math

import pytest

from harden.errors import InputError
from harden.training.guards.guard_options import Guards


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"rollbacks": -1}, "-1 roll-backs"),
        ({"checks": -2}, "-2 checks"),
        ({"share": 1.5}, "a share of 1.5"),
        ({"share": -0.1}, "a share of -0.1"),
        ({"share": math.nan}, "a share of nan"),
    ],
)
def test_numbers_out_of_their_range_are_refused(options: dict[str, float], seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        Guards(**options)  # type: ignore[arg-type]  # a float for a count is one of the cases


def test_zero_is_for_none() -> None:
    assert Guards(rollbacks=0, checks=0, share=0.0) == Guards(0, 0, 0.0)
