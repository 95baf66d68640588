"""Texts of the probes: each has one, and a check states its count."""

from __future__ import annotations

import pytest

from harden.evaluation.trust.probe_texts import Probe, check

NONE_ALLOWED = {Probe.RANDOMISED, Probe.COMPOSITION, Probe.ZERO, Probe.HUGE}


@pytest.mark.parametrize("probe", Probe, ids=str)
def test_a_check_has_name_share_and_count(probe: Probe) -> None:
    found = check(probe, 3, 40)
    assert (found.name, found.value) == (probe.value, 3 / 40)
    assert found.meaning.endswith(", 3 of 40")
    assert found.action
    assert (found.threshold == 0) is (probe in NONE_ALLOWED)
    assert check(probe, found.threshold * 40, 40).passed
    assert not check(probe, found.threshold * 40 + 0.01, 40).passed


def test_where_nothing_was_probed_the_reason_is_stated() -> None:
    found = check(Probe.HUGE, 0, 0)
    assert (found.value, found.passed) == (0, True)
    assert found.meaning.endswith("(not probed: none of the first images is classified correctly)")
    assert check(Probe.HUGE, 0, 0, "no time").meaning.endswith("(not probed: no time)")
