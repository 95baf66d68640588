"""Threats by the names of their norms."""

from __future__ import annotations

import pytest

from harden.errors import InputError
from harden.threats import L1, L2, Linf, from_name

pytestmark = pytest.mark.usefixtures("rng_untouched")


def test_a_threat_has_a_name() -> None:
    for kind in (Linf, L2, L1):
        threat = kind("1/3", (-1.0, 1.0))
        assert from_name(threat.name, "1/3", (-1.0, 1.0)) == threat
    with pytest.raises(InputError, match="norm 'l0'; expected linf, l2 or l1"):
        from_name("l0", 1)


def test_the_default_box_and_the_refusals_are_those_of_the_threat() -> None:
    assert from_name("linf", "8/255") == Linf("8/255")
    with pytest.raises(InputError, match="at most 1, the width of the box"):
        from_name("linf", 8)
    assert from_name("l2", 8) == L2(8)
