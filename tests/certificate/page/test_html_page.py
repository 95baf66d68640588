from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from harden.certificate import schema as s
from harden.certificate.certificate import Certificate
from harden.certificate.page.html_page import LARGEST, render

Make = Callable[..., Certificate]
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    def values(self) -> list[float]:
        return [float(a["value"] or "") for tag, a in self.tags if tag == "data"]


def test_it_loads_nothing_and_runs_nothing(certificate: Certificate) -> None:
    text = render(certificate)
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href", "srcset", "action", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"https?:|url\(|@import", text)


def test_its_policy_allows_its_own_style_alone(certificate: Certificate) -> None:
    page = Page(render(certificate))
    policies = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]


def test_every_number_of_the_tables_is_one_of_the_certificate(certificate: Certificate) -> None:
    fields = json.loads(certificate.model_dump_json())
    known: set[float] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            for item in value.values():
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            known.add(float(value))

    collect(fields["predicate"])
    shown = set(Page(render(certificate)).values())
    assert shown <= known
    p = certificate.predicate
    wanted = {p.bracket.robust.value, p.bracket.certified.value, p.clean.value, p.comparison.robust.value}  # type: ignore[union-attr]
    wanted |= {float(x) for x in (p.verdicts.unknown, p.verdicts.falsified, p.evidence.witnesses)}
    wanted |= {point.robust.value for point in p.curve.points}  # type: ignore[union-attr]
    wanted |= {x for a in p.attacks for x in (a.robust.value, a.attempted, a.broken, a.passes)}
    wanted |= {x for c in p.classes for x in (c.n, c.clean.value, c.robust.value)}
    assert wanted <= shown


def test_curve_table_is_in_order_and_whole(certificate: Certificate) -> None:
    text = render(certificate)
    rows = text[text.index('aria-label="Accuracy over eps"') :]
    rows = rows[: rows.index("</table>")]
    found = re.findall(r'<th scope="row">([^<]+)</th><td class="num"><data value="([^"]+)">', rows)
    curve = certificate.predicate.curve
    assert curve is not None
    assert found == [(p.eps, str(p.robust.value)) for p in curve.points]


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "{{ 7*7 }}", "</style>"]
)
def test_hostile_names_stay_text(make_certificate: Make, hostile: str) -> None:
    page = Page(render(make_certificate(names=(hostile, "b", "c"))))
    assert not any(tag == "script" or "onerror" in attributes for tag, attributes in page.tags)
    assert any(hostile in text for text in page.texts)


def test_the_gallery_gives_way_to_the_size_and_says_so(make_certificate: Make) -> None:
    certificate = make_certificate(pairs=24, size=64)
    text = render(certificate)
    assert len(text.encode()) < LARGEST
    shown = sum(tag == "img" for tag, _ in Page(text).tags) // 3
    assert 0 < shown < 24
    assert f"{24 - shown} of 24 pairs are left out" in text
    assert "left out to keep" not in render(make_certificate(pairs=3))


def test_many_classes_fit(make_certificate: Make) -> None:
    text = render(make_certificate(names=tuple(f"class {k}" for k in range(200))))
    assert len(text.encode()) < LARGEST
    assert "The 100 classes of lowest robust accuracy" in text


def test_unreliable_has_no_headline(make_certificate: Make) -> None:
    text = render(make_certificate(status="unreliable"))
    assert "No headline" in text
    assert "Look for a gradient that is masked." in text
    assert "expected no more than 0.1; Look for" in text
    command = "harden evaluate FOLDER --data DATA --norm linf --eps 1/10"
    assert f"<p>Next, once the cause is mended: <code>{command}" in text
    assert 'class="big"' not in text
    assert 'class="bracket"' not in text


def test_sparse_certificates_render(certificate: Certificate, make_certificate: Make) -> None:
    fields = {"curve": None, "history": (), "gallery": (), "checks": (), "comparison": None, "attacks": ()}
    bare = certificate.predicate.model_copy(update=fields)
    text = render(certificate.model_copy(update={"predicate": bare}))
    assert "Accuracy over eps" not in text
    Page(text)
    point = s.HistoryPoint(stage="one", step=0, passes=0, seconds=0, loss=0)
    Page(render(certificate.model_copy(update={"predicate": bare.model_copy(update={"history": (point,)})})))


def test_images_and_charts_have_words(certificate: Certificate) -> None:
    for tag, attributes in Page(render(certificate)).tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_contrast_is_aa_light_and_dark_and_printed(certificate: Certificate) -> None:
    style = Page(render(certificate)).style
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(themes) == 3
    for theme in themes:
        for ground in ("paper", "card", "faint", "alarm"):
            for ink in ("ink", "soft", "good", "bad", "robust"):
                a, b = sorted((_luminance(theme[ground]), _luminance(theme[ink])))
                assert (b + 0.05) / (a + 0.05) >= 4.5, (ground, ink)


def test_what_guards_did_is_listed_as_text(certificate: Certificate) -> None:
    """An event is a text of the certificate, which may come from anywhere."""
    first, *others = certificate.predicate.history
    said = first.model_copy(update={"event": "divergence: a loss of nan <script>", "step": 1234})
    predicate = certificate.predicate.model_copy(update={"history": (said, *others)})
    text = render(certificate.model_copy(update={"predicate": predicate}))
    assert "Step 1\u202f234: divergence: a loss of nan &lt;script&gt;." in text
    assert text.count("<li>Step ") == 1
    assert "<li>Step " not in render(certificate)
