"""Charts of a certificate: accuracy over eps, and each training stage's loss and validation accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeVar, final

from markupsafe import Markup

from harden.certificate.certificate import Certificate
from harden.certificate.page.charts import PERCENT, Axis, Series, axis, line_chart
from harden.certificate.schema import CurveRecord, HistoryPoint, ProofRecord

T = TypeVar("T")

_ROWS: Final = 40
_LINE: Final = 240


@final
@dataclass(frozen=True, slots=True)
class StageCharts:
    """One stage of training: charts, the rows of its table, and in `thinned` the number before thinning.

    `events` are the points of the history at which a guard acted.
    """

    name: str
    charts: tuple[Markup, ...]
    rows: tuple[HistoryPoint, ...]
    thinned: int | None
    events: tuple[HistoryPoint, ...] = ()


def curve_chart(curve: CurveRecord, eps: str, proof: ProofRecord | None = None) -> Markup:
    """Draws robust and certified accuracy over eps with intervals, and a line at the threat's eps."""
    points = sorted(curve.points, key=lambda p: Fraction(p.eps))
    places = [float(Fraction(p.eps)) for p in points]
    budget = float(Fraction(eps))
    x = Axis("eps", 0.0, max([*places, budget]), [(a, p.eps) for a, p in zip(places, points, strict=True)])
    line = Series(
        "robust",
        "robust",
        [(a, p.robust.value) for a, p in zip(places, points, strict=True)],
        [p.robust.interval[0] for p in points],
        [p.robust.interval[1] for p in points],
    )
    lines, shown = [line], f"{len(points)} points by attack"
    if proof is not None:
        lines.append(_proved(proof))
        shown = f"{shown}, {len(proof.points)} by proof"
    return line_chart("Accuracy over eps", shown, x, PERCENT, lines, (budget, f"eps {eps}"))


def _proved(proof: ProofRecord) -> Series:
    return Series(
        "certified",
        "certified",
        [(float(Fraction(p.eps)), p.certified.value) for p in proof.points],
        [p.certified.interval[0] for p in proof.points],
        [p.certified.interval[1] for p in proof.points],
    )


def stages(certificate: Certificate) -> list[StageCharts]:
    """Draws the history stage by stage, since losses of different objectives have no common scale."""
    history = certificate.predicate.history
    names = dict.fromkeys(point.stage for point in history)
    return [_stage(name, [point for point in history if point.stage == name]) for name in names]


def _stage(name: str, points: Sequence[HistoryPoint]) -> StageCharts:
    x = axis("passes per training image (E)", [p.passes for p in points])
    charts = []
    lines = []
    for css in ("clean", "robust"):
        values = [(p.passes, getattr(p, css)) for p in points if getattr(p, css) is not None]
        if values:
            lines.append(Series(css, css, values))
    if lines:
        charts.append(line_chart(f"Validation accuracy during {name}", "clean and robust", x, PERCENT, lines))
    shown = thin(points, _LINE)
    loss = Series("loss", "loss", [(p.passes, p.loss) for p in shown])
    scale = axis("", [p.loss for p in points], zero=True)
    charts.append(line_chart(f"Training loss during {name}", f"{len(points)} points", x, scale, [loss]))
    # Rows with an accuracy take precedence over rows of loss alone.
    measured = [p for p in points if p.clean is not None or p.robust is not None]
    rows = thin(measured if len(measured) >= 2 and len(points) > _ROWS else points, _ROWS)
    thinned = len(points) if len(rows) < len(points) else None
    return StageCharts(
        name, tuple(charts), tuple(rows), thinned, tuple(point for point in points if point.event)
    )


def thin(items: Sequence[T], most: int) -> list[T]:
    """Keeps at most `most` items, evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]
