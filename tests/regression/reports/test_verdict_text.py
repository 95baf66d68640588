"""What is told: texts, JUnit, JSON, GitHub's summary; all from one verdict."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.regression.comparison_json import packed, unpacked
from harden.regression.paired_comparison import Pairs
from harden.regression.reports.github_actions import LIMIT, annotation, append_summary, fitting
from harden.regression.reports.json_and_junit import as_json, as_junit, broken_junit
from harden.regression.reports.verdict_text import as_html, as_markdown, as_text, change
from harden.regression.verdict import Comparison, Rule, Verdict, judge

COMPARISONS = (
    Comparison("linf 8/255", "robust", Pairs(1000, 500, 10, 50)),
    Comparison("linf 8/255", "clean", Pairs(1000, 900, 20, 30), remarks=("other versions",)),
    Comparison("l2 1/2", "robust", Pairs(1000, 400, 10, 8)),
)
VERDICT = judge(COMPARISONS, Rule(floor=(("robust", 0.1),)))


def test_every_form_says_the_same() -> None:
    states = [str(finding.state) for finding in VERDICT.findings]
    assert states == ["FAIL", "INCONCLUSIVE", "PASS"]
    fields = json.loads(json.dumps(as_json(VERDICT), allow_nan=False))
    assert [each["state"] for each in fields["comparisons"]] == states
    assert fields["state"] == "FAIL"
    suite = Xml.fromstring(as_junit(VERDICT, inconclusive_fails=False))[0]
    assert [len(suite.findall(f"*/{kind}")) for kind in ("failure", "skipped", "error")] == [1, 1, 0]
    for text in (as_text(VERDICT), as_markdown(VERDICT), as_html(VERDICT)):
        for state in states:
            assert state in text
        assert "-4.0 pp [" in text
        assert "images would decide" in text
        assert "other versions" in text


def test_inconclusive_is_a_failure_where_that_was_asked() -> None:
    suite = Xml.fromstring(as_junit(VERDICT, inconclusive_fails=True))[0]
    assert (suite.attrib["failures"], suite.attrib["skipped"], suite.attrib["tests"]) == ("2", "0", "3")


def test_bounds_are_rounded_outwards() -> None:
    finding = judge([Comparison("a", "robust", Pairs(997, 500, 11, 17))], Rule()).findings[0]
    low, high = (float(each) for each in change(finding).partition("[")[2].rstrip("]").split(","))
    assert low <= 100 * finding.interval[0] <= low + 0.11
    assert high - 0.11 <= 100 * finding.interval[1] <= high


@given(st.text(max_size=60))
def test_any_name_stays_in_its_place(name: str) -> None:
    """Whatever a label holds: XML stays XML, a table keeps its columns, a page runs no script of it."""
    verdict = judge([Comparison(name, "robust", Pairs(10, 5, 1, 1), broken=(name,))], Rule())
    case = Xml.fromstring(as_junit(verdict, inconclusive_fails=False))[0][0]
    assert case.find("failure") is not None
    Xml.fromstring(broken_junit([name], name))
    (row,) = [line for line in as_markdown(verdict).splitlines() if "| FAIL |" in line]
    assert row.replace("\\|", "").count("|") == 7
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]  # a parser for one test
    parser.feed(as_html(verdict))
    known = {"html", "meta", "title", "style", "h1", "p", "table", "tr", "th", "td", "ul", "li"}
    assert set(tags) <= known


def test_a_broken_check_is_an_error_for_every_name() -> None:
    suite = Xml.fromstring(broken_junit(["a", "b"], "no baseline"))[0]
    assert (suite.attrib["errors"], len(suite.findall("*/error"))) == ("2", 2)


def test_the_summary_is_appended_and_never_larger_than_it_may_be(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(path)}
    assert append_summary("one\n", environment)
    assert append_summary("two\n", environment)
    assert path.read_text() == "one\ntwo\n"
    assert append_summary("ü line\n" * 200_000, environment)
    content = path.read_bytes()
    assert LIMIT - 100 < len(content) <= LIMIT
    assert content.decode().endswith("(cut: a step's summary holds 1 MiB)\n")
    assert not append_summary("more\n" * 100, environment)
    assert path.stat().st_size <= LIMIT


def test_without_a_summary_nothing_is_written(tmp_path: Path) -> None:
    assert not append_summary("text", {})
    assert not append_summary("text", {"GITHUB_STEP_SUMMARY": ""})
    assert not append_summary("text", {"GITHUB_STEP_SUMMARY": str(tmp_path)})


@given(st.text(max_size=300), st.integers(0, 400))
def test_what_fits_is_text(text: str, room: int) -> None:
    found = fitting(text, room)
    assert len(found) <= room
    found.decode()


@pytest.mark.parametrize(
    ("message", "written"),
    [("a\nb", "a%0Ab"), ("50 % ::warning::", "50 %25 ::warning::"), ("a\r\n::x::", "a%0D%0A::x::")],
)
def test_an_annotation_is_one_line(message: str, written: str) -> None:
    assert annotation("a: b, c", message) == f"::error title=a%3A b%2C c::{written}"


def test_a_verdict_survives_the_trip_between_processes() -> None:
    again: Verdict = unpacked(json.loads(json.dumps(packed(COMPARISONS, VERDICT.rule))))
    assert again == VERDICT
