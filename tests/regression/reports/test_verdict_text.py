"""What is told: texts, JUnit, JSON, GitHub's summary; all from one verdict."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from xml.etree import ElementTree as Xml

from hypothesis import given
from hypothesis import strategies as st

from harden.regression.paired_comparison import Pairs
from harden.regression.reports.json_and_junit import as_json, as_junit, broken_junit
from harden.regression.reports.verdict_text import as_html, as_markdown, as_text, change
from harden.regression.verdict import Comparison, Rule, judge
from tests.regression.three_answers import VERDICT


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
