"""Comparisons as JSON, judged again to the same verdict."""

from __future__ import annotations

import json

from harden.regression.comparison_json import packed, unpacked
from harden.regression.paired_comparison import Pairs
from harden.regression.verdict import Comparison, Rule, Verdict
from tests.regression.three_answers import COMPARISONS, VERDICT


def test_a_verdict_survives_the_trip_between_processes() -> None:
    again: Verdict = unpacked(json.loads(json.dumps(packed(COMPARISONS, VERDICT.rule))))
    assert again == VERDICT


def test_every_field_that_a_verdict_depends_on_is_kept() -> None:
    one = Comparison("a", "robust", Pairs(900, 300, 1, 2), broken=("masked",), remarks=("x", "y"), left=7)
    again = unpacked(json.loads(json.dumps(packed([one], Rule(0.03, 0.01, (("robust", 0.2),))))))
    assert [finding.comparison for finding in again.findings] == [one]
    assert again.rule == Rule(0.03, 0.01, (("robust", 0.2),))
