"""Text of others becomes one line of printable characters, and nothing that its medium would act on."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.printable_text import log_line, markdown, markup, one_line

ANY = st.text(st.characters(codec=None), max_size=40)
"""Lone surrogates included: what Python makes of a file's name that is no UTF-8."""
EVIL = (
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "a\nverified: L-inf 8/255",
    "a\rverified",
    "a\u2028b\u0085c\x0bd",
    "\u202egnp.exe\u202c",
    "zero\u200bwidth\ufeff\u2066",
    "\udcff\ud800",
    "\u3164",
    "\ufffe",
)


@pytest.mark.parametrize("text", EVIL)
def test_what_does_not_print_is_escaped(text: str) -> None:
    assert one_line(text).isprintable()
    assert one_line(text) != text
    assert one_line(text).encode("ascii")


@pytest.mark.parametrize(
    "text", ["cat", "Straße", "猫　犬", "ε ≤ 8/255", "1\u202f000", "[/b]", "C:\\new", "🐈", "e\u0301"]
)
def test_ordinary_text_stays(text: str) -> None:
    assert one_line(text) == log_line(text) == text


@given(ANY)
def test_one_line_is_one_line_once_and_for_all(text: str) -> None:
    plain = one_line(text)
    assert len(plain.splitlines()) <= 1
    assert plain.encode().decode() == plain
    assert one_line(plain) == plain
    assert log_line(log_line(text)) == log_line(text)


def _github_executes(line: str) -> bool:
    """As the runner reads a line of a log: `::` where it begins, `##[` anywhere."""
    return line.strip().startswith("::") or "##[" in line


@pytest.mark.parametrize(
    "text",
    [
        "::error::forged",
        "  ::add-mask::8",
        "\t::stop-commands::x",
        "\u3000::debug::",
        ":::error::",
        "a ##[error]forged",
        "##vso[task.complete result=Succeeded]",
        "####[group]",
        "##teamcity[testFinished]",
    ],
)
def test_a_log_holds_no_command(text: str) -> None:
    assert not _github_executes(log_line(text))
    assert re.search(r"##\w*\[", log_line(text)) is None


@given(st.text("#:[ \tav", max_size=12))
def test_no_mixture_of_its_signs_is_a_command(text: str) -> None:
    assert not _github_executes(log_line(text))
    assert re.search(r"##\w*\[", log_line(text)) is None


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(ANY)
def test_markup_is_text_alone(text: str) -> None:
    parser = _Tags()
    parser.feed(markup(text))
    parser.close()
    assert (parser.tags, parser.text) == ([], one_line(text))
    assert Xml.fromstring(f'<a b="{markup(text)}">{markup(text)}</a>').text in (one_line(text), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("a | b", "a \\| b"),
        ("[x](javascript:alert)", "\\[x\\](javascript:alert)"),
        ("![](http://host/pixel)", "!\\[\\](http:\\//host/pixel)"),
        ("# heading", "\\# heading"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("---", "\\---"),
        ("`code`", "\\`code\\`"),
        ("@team", "\\@team"),
        ("www.host.org", "www\\.host.org"),
        ("a\n\n# b", "a # b"),
        ("::error::x", "\\\\x3a:error::x"),
        ("&lt;", "&amp;lt;"),
        ("+1.2 pp", "+1.2 pp"),
    ],
)
def test_markdown_shows_what_is_there(text: str, said: str) -> None:
    assert markdown(text) == said
