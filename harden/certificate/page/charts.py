"""Charts as inline SVG, without script or style attributes, coloured by classes of the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from markupsafe import Markup, escape

Points = Sequence[tuple[float, float]]
Ticks = Sequence[tuple[float, str]]

# One unit is one CSS pixel at the width a phone gives, so that text keeps its size.
_WIDTH: Final = 360.0
_HEIGHT: Final = 224.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 14.0, 14.0, 40.0


@final
@dataclass(frozen=True, slots=True)
class Series:
    """A named line; `low` and `high`, when given, are the limits of its interval at each point."""

    name: str
    css: str
    points: Points
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high` with ticks as (value, text) and a title."""

    title: str
    low: float
    high: float
    ticks: Ticks


_SMALLEST, _LARGEST = 1e-300, 1e300

PERCENT: Final = Axis("", 0.0, 1.0, tuple((k / 4, f"{25 * k} %") for k in range(5)))


def axis(title: str, values: Sequence[float], *, zero: bool = False) -> Axis:
    """Makes an axis over values with two to six round ticks; `zero` makes it start at 0."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = min(low, 0.0) if zero else low
    if high <= low:
        low, high = (low, low + (abs(low) or 1.0)) if low <= _LARGEST else (0.0, low)
    rough = high / 4 - low / 4
    if not _SMALLEST <= rough <= _LARGEST:  # a history may hold any number; 10^-320 has no round steps
        return Axis(title, low, high, [(low, f"{low:.6g}"), (high, f"{high:.6g}")])
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    ticks = [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return Axis(title, low, high, [(tick, f"{tick:.6g}") for tick in ticks])


def line_chart(
    name: str,
    description: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    mark: tuple[float, str] | None = None,
) -> Markup:
    """Draws lines over two axes, with interval bands and, at `mark`, a labelled vertical line.

    Args:
        name: the chart's accessible title.
        description: of its content, for screen readers.
        x: the horizontal axis.
        y: the vertical axis.
        series: the lines, in drawing order.
        mark: a position on x and its label.
    """
    parts = [_grid(x, y)]
    if mark is not None:
        at = _x(x, mark[0])
        anchor = "end" if at > _WIDTH * 0.6 else "start"
        shift = -5 if anchor == "end" else 5
        parts.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP:g}" y2="{_HEIGHT - _BOTTOM:g}"/>'
            f'<text class="mark-text" x="{at + shift:.1f}" y="{_TOP + 9:g}" text-anchor="{anchor}">'
            f"{escape(mark[1])}</text>"
        )
    parts.extend(_line(x, y, one) for one in series)
    return _svg(name, description, "".join(parts))


def _svg(name: str, description: str, body: str) -> Markup:
    # Body is made of numbers formatted here and of texts escaped where they enter.
    return Markup(  # noqa: S704  # safe: numbers, and texts that are escaped
        f'<svg class="chart" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        f'aria-label="{escape(name)}: {escape(description)}">{body}</svg>'
    )


def _grid(x: Axis, y: Axis) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value, text in y.ticks:
        at = _y(y, value)
        parts.append(
            f'<line class="grid" x1="{_LEFT:g}" x2="{right:g}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 7:g}" y="{at + 3.5:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    last = -math.inf
    for value, text in x.ticks:
        at = _x(x, value)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom:g}" y2="{bottom + 4:g}"/>')
        if at - last < 8 + 6 * len(text):  # a label that would overlap the one before is in the table alone
            continue
        last = at
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{bottom + 16:g}" text-anchor="middle">{escape(text)}</text>'
        )
    parts.append(f'<line class="axis" x1="{_LEFT:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    middle = (_LEFT + right) / 2
    place = f'x="{middle:g}" y="{_HEIGHT - 5:g}" text-anchor="middle"'
    parts.append(f'<text class="title" {place}>{escape(x.title)}</text>')
    return "".join(parts)


def _line(x: Axis, y: Axis, series: Series) -> str:
    places = [(_x(x, a), _y(y, b)) for a, b in series.points]
    css = escape(series.css)
    parts = []
    if series.low:
        edges = [(a, _y(y, b)) for (a, _), b in zip(places, series.high, strict=True)]
        edges += [(a, _y(y, b)) for (a, _), b in zip(places, series.low, strict=True)][::-1]
        parts.append(f'<polygon class="band {css}" points="{_path(edges)}"/>')
    if len(places) > 1:
        parts.append(f'<polyline class="line {css}" points="{_path(places)}"/>')
    if len(places) <= 24:
        parts.extend(f'<circle class="dot {css}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in places)
    return "".join(parts)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in places)


def _x(axis: Axis, value: float) -> float:
    return _LEFT + _share(axis, value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - _share(axis, value) * (_HEIGHT - _TOP - _BOTTOM)


def _share(axis: Axis, value: float) -> float:
    """The position of a value on an axis, from 0 to 1; from halves where the difference overflows float64."""
    if math.isfinite(axis.high - axis.low):
        return (value - axis.low) / (axis.high - axis.low)
    return (value / 2 - axis.low / 2) / (axis.high / 2 - axis.low / 2)


def verdict_bar(certified: int, unknown: int, falsified: int) -> Markup:
    """Draws the verdicts as shares of one bar of fixed height."""
    n = certified + unknown + falsified
    label = f"Of {n} images: {certified} certified, {unknown} unknown, {falsified} falsified"
    parts, start = [], 0.0
    for css, count in (("certified", certified), ("unknown", unknown), ("falsified", falsified)):
        width = 100.0 * count / n
        if count:
            parts.append(f'<rect class="{css}" x="{start:.3f}" y="0" width="{width:.3f}" height="10"/>')
        start += width
    return Markup(  # noqa: S704  # safe: numbers only
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def class_bar(clean: float, robust: float) -> Markup:
    """Draws the robust and clean accuracy of one class as nested bars; the table contains the numbers."""
    return Markup(  # noqa: S704  # safe: numbers only
        '<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="whole" x="0" y="0" width="100" height="10"/>'
        f'<rect class="clean" x="0" y="0" width="{100 * clean:.2f}" height="10"/>'
        f'<rect class="robust" x="0" y="0" width="{100 * robust:.2f}" height="10"/></svg>'
    )
