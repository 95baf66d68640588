"""Axes, lines and bars of the page's SVG charts."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.certificate.page.charts import PERCENT, Axis, Series, axis, class_bar, line_chart, verdict_bar

X = Axis("eps", 0.0, 2.0, [(0.0, "0"), (1.0, "1"), (2.0, "2")])
LEFT, RIGHT, TOP, BOTTOM = 44.0, 346.0, 14.0, 184.0
"""The frame of a chart: what its grid spans."""


def elements(svg: str, kind: str) -> list[dict[str, str]]:
    return [part.attrib for part in ElementTree.fromstring(svg).iter(kind)]  # text of ours


def points(svg: str, kind: str) -> list[list[float]]:
    return [[float(v) for v in re.split("[ ,]", each["points"])] for each in elements(svg, kind)]


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(numbers, max_size=8), st.booleans())
def test_an_axis_spans_its_values_with_a_few_ticks_in_order(values: list[float], zero: bool) -> None:
    found = axis("x", values, zero=zero)
    assert found.low < found.high
    assert all(found.low <= value <= found.high for value in values)
    assert not zero or found.low <= 0
    ticks = [tick for tick, _ in found.ticks]
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    span = found.high / 2 - found.low / 2
    assert all(found.low - 1e-6 * span <= tick <= found.high + 1e-6 * span for tick in ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([0, 1], [0, 0.25, 0.5, 0.75, 1]), ([0, 90], [0, 25, 50, 75]), ([3, 7], [3, 4, 5, 6, 7])],
)
def test_ticks_are_round(values: list[float], ticks: list[float]) -> None:
    assert [tick for tick, _ in axis("", values).ticks] == pytest.approx(ticks)


def test_a_line_is_drawn_to_scale_with_its_interval() -> None:
    line = Series("robust", "robust", [(0, 1), (1, 0.5), (2, 0)], [0.75, 0.25, 0], [1, 0.75, 0.25])
    svg = line_chart("Accuracy", "three points", X, PERCENT, [line])
    middle = (TOP + BOTTOM) / 2
    assert points(svg, "polyline") == [[LEFT, TOP, (LEFT + RIGHT) / 2, middle, RIGHT, BOTTOM]]
    (band,) = points(svg, "polygon")
    quarter = (BOTTOM - TOP) / 4
    assert band[1::2] == pytest.approx(
        [TOP, TOP + quarter, BOTTOM - quarter, BOTTOM, BOTTOM - quarter, TOP + quarter]
    )
    dots = [(float(each["cx"]), float(each["cy"])) for each in elements(svg, "circle")]
    assert dots == [(LEFT, TOP), ((LEFT + RIGHT) / 2, middle), (RIGHT, BOTTOM)]
    assert ElementTree.fromstring(svg).get("aria-label") == "Accuracy: three points"


def test_the_mark_is_drawn_where_it_belongs() -> None:
    svg = line_chart("a", "b", X, PERCENT, [], (1.0, "eps 1"))
    (mark,) = [each for each in elements(svg, "line") if each.get("class") == "mark"]
    assert float(mark["x1"]) == float(mark["x2"]) == (LEFT + RIGHT) / 2


def test_texts_are_escaped() -> None:
    hostile = '<script>"&'
    scale = Axis(hostile, 0.0, 1.0, [(0.0, hostile)])
    svg = line_chart(
        hostile, hostile, scale, scale, [Series(hostile, hostile, [(0, 0), (1, 1)])], (0.5, hostile)
    )
    assert "<script" not in svg
    texts = [part.text for part in ElementTree.fromstring(svg).iter("text")]
    assert texts.count(hostile) == 4  # both first ticks, the title and the mark


@given(st.tuples(*[st.integers(0, 10**6)] * 3).filter(any))
def test_the_parts_of_the_verdict_bar_fill_it(counts: tuple[int, int, int]) -> None:
    parts = elements(verdict_bar(*counts), "rect")
    assert len(parts) == sum(count > 0 for count in counts)
    assert sum(float(part["width"]) for part in parts) == pytest.approx(100, abs=0.002)
    for part, following in itertools.pairwise(parts):
        assert float(part["x"]) + float(part["width"]) == pytest.approx(float(following["x"]), abs=0.002)
    shares = dict(zip(("certified", "unknown", "falsified"), counts, strict=True))
    for part in parts:
        assert float(part["width"]) == pytest.approx(100 * shares[part["class"]] / sum(counts), abs=0.001)


def test_the_bar_of_a_class_shows_both_accuracies() -> None:
    widths = {part["class"]: float(part["width"]) for part in elements(class_bar(0.8, 0.125), "rect")}
    assert widths == {"whole": 100, "clean": 80, "robust": 12.5}


def test_values_whose_difference_overflows_are_drawn() -> None:
    scale = axis("", [-1.7e308, 1.7e308])
    svg = line_chart("a", "b", scale, PERCENT, [Series("x", "x", [(-1.7e308, 0), (0, 0.5), (1.7e308, 1)])])
    (line,) = points(svg, "polyline")
    assert all(math.isfinite(value) for value in line)
    assert line[0::2] == [LEFT, (LEFT + RIGHT) / 2, RIGHT]
