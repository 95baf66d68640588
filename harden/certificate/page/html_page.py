"""HTML page of a certificate: one static file, without script or external resources."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from harden.certificate import formatting
from harden.certificate.certificate import Certificate
from harden.certificate.chance_level import caution_of
from harden.certificate.page import charts
from harden.certificate.page.chart_data import curve_chart, stages
from harden.certificate.schema import ClassRecord, WitnessPair
from harden.certificate.unreliable_reasons import reason
from harden.printable_text import one_line

LARGEST: Final = 200_000
"""Upper limit of the page's bytes; pairs of the gallery are dropped until it holds."""

_MOST_CLASSES: Final = 100
_MOST_RECIPE: Final = 6000


def render(certificate: Certificate) -> str:
    """Renders a certificate as one self-contained HTML page below 200 kB, without script or external links.

    Pairs of the gallery are left out, from the end, until the page fits; their number is on the page.
    """
    shown = list(certificate.predicate.gallery)
    page = _render(certificate, shown)
    while shown and len(page.encode("utf-8")) >= LARGEST:
        excess = len(page.encode("utf-8")) - LARGEST + 1
        while shown and excess > 0:  # at least one goes; markup around the images goes with them
            pair = shown.pop()
            excess -= len(pair.clean_png) + len(pair.adversarial_png) + len(pair.difference_png)
        page = _render(certificate, shown)
    return page


def _render(certificate: Certificate, gallery: list[WitnessPair]) -> str:
    style = _file("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    predicate = certificate.predicate
    recipe = predicate.provenance.recipe
    text = "" if recipe is None else json.dumps(recipe, indent=2, ensure_ascii=False)
    return (
        _environment()
        .get_template("page.html")
        .render(
            style=Markup(style),  # noqa: S704 (our own file)
            style_hash=f"sha256-{digest}",
            c=certificate,
            p=predicate,
            gallery=gallery,
            classes=_weakest(predicate.classes),
            curve=None
            if predicate.curve is None
            else curve_chart(predicate.curve, predicate.threat.eps, predicate.proof),
            stages=stages(certificate),
            fired=[(check.name, reason(check)) for check in predicate.checks if not check.passed],
            next=formatting.next_of(predicate),
            recipe=text if len(text) <= _MOST_RECIPE else "",
            ball=formatting.ball(certificate),
            caution=caution_of(predicate),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_file),
        finalize=_printable,
    )
    filters: dict[str, Any] = {
        "percent": formatting.percent,
        "grouped": formatting.grouped,
        "duration": formatting.duration,
        "of_n": formatting.of_n,
        "span": formatting.span,
        "compact": _compact,
    }
    environment.filters.update(filters)
    environment.globals.update(verdict_bar=charts.verdict_bar, class_bar=charts.class_bar)
    return environment


def _printable(value: Any) -> Any:
    """Text with unprintable characters escaped, before it is escaped for HTML; line ends are kept."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(one_line(line) for line in value.split("\n"))


def _weakest(classes: tuple[ClassRecord, ...]) -> list[ClassRecord]:
    if len(classes) <= _MOST_CLASSES:
        return list(classes)
    return sorted(classes, key=lambda c: c.robust.value)[:_MOST_CLASSES]


def _compact(spec: dict[str, Any]) -> str:
    text = ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in spec.items())
    return text.replace('"', "") if len(text) <= 300 else text[:297].replace('"', "") + "..."


@cache
def _file(name: str) -> str:
    return (resources.files("harden.certificate") / "templates" / name).read_text(encoding="utf-8")
