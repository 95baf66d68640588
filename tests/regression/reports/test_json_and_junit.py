"""The verdict as JSON and JUnit's XML."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

from harden.regression.reports.json_and_junit import as_json, as_junit, broken_junit
from harden.regression.timing.paired_timing import SpeedFinding, Timings
from harden.regression.verdict import Rule, judge
from tests.regression.three_answers import COMPARISONS, VERDICT


def test_inconclusive_is_a_failure_where_that_was_asked() -> None:
    suite = Xml.fromstring(as_junit(VERDICT, inconclusive_fails=True))[0]
    assert (suite.attrib["failures"], suite.attrib["skipped"], suite.attrib["tests"]) == ("2", "0", "3")


def test_a_broken_check_is_an_error_for_every_name() -> None:
    suite = Xml.fromstring(broken_junit(["a", "b"], "no baseline"))[0]
    assert (suite.attrib["errors"], len(suite.findall("*/error"))) == ("2", 2)


def test_json_holds_the_counts_and_bounds_of_each_comparison() -> None:
    fields = json.loads(json.dumps(as_json(VERDICT), allow_nan=False))
    assert (fields["margin"], fields["alpha"], fields["floor"]) == (0.02, 0.05, {"robust": 0.1})
    assert "speed" not in fields
    for each, comparison, finding in zip(fields["comparisons"], COMPARISONS, VERDICT.findings, strict=True):
        pairs = comparison.pairs
        assert (each["check"], each["measure"]) == (comparison.check, comparison.measure)
        assert [each[name] for name in ("n", "gained", "lost")] == [1000, pairs.gained, pairs.lost]
        assert each["before"] == (pairs.both + pairs.lost) / 1000
        assert each["now"] == (pairs.both + pairs.gained) / 1000
        assert each["interval"] == [pairs.lower(0.05), pairs.upper(0.05)]
        assert each["p_worse"] == pairs.p_worse
        assert (each["outlook"] is not None) == (str(finding.state) == "INCONCLUSIVE")


def test_speed_is_a_part_of_both_forms_where_it_was_measured() -> None:
    timings = Timings((1.0,) * 7, (1.5,) * 7, 3)
    speed = SpeedFinding("attack", 32, timings, 0.1, 0.05)
    verdict = replace(judge(COMPARISONS[2:], Rule()), speed=(speed,))
    fields = json.loads(json.dumps(as_json(verdict), allow_nan=False))
    assert (fields["state"], fields["comparisons"][0]["state"]) == ("FAIL", "PASS")
    (said,) = fields["speed"]
    assert (said["state"], said["rounds"], said["repeats_per_run"], said["images"]) == ("FAIL", 7, 3, 32)
    assert (said["seconds_before"], said["seconds_now"]) == ([1.0] * 7, [1.5] * 7)
    assert said["ratio"] == pytest.approx(1.5)
    suite = Xml.fromstring(as_junit(verdict, inconclusive_fails=False))[0]
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")
    (case,) = [each for each in suite if each.find("failure") is not None]
    assert case.attrib["name"] == "speed: attack time"
