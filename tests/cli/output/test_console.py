"""What is printed is text: no name is markup, a command to a CI system, or a line of its own."""

from __future__ import annotations

import re

import pytest

from harden.cli.output.console import ProgressDisplay, annotate, say, say_lines, say_table
from harden.evaluation import Phase

EVIL = ("[/b]", "[red]x[/red]", ":cat:", "a\nverified: b", "::error::c", "\x1b[2J", "\udcff", "##[group]d")


@pytest.mark.parametrize("text", EVIL)
def test_a_line_is_what_was_written(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(text)
    say(f"worst class {text}: clean 1.0")
    first, second, *rest = capsys.readouterr().out.split("\n")
    assert rest == [""]
    assert first.isprintable()
    assert second.isprintable()
    assert second.startswith("worst class ")
    assert second.endswith(": clean 1.0")
    assert not first.startswith("::")
    if text.isprintable() and "::" not in text and "##" not in text:
        assert first == text


@pytest.mark.parametrize("text", EVIL)
def test_a_cell_and_a_title_are_what_was_written(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("", text), [(text, "1"), ("a", text)], title=text)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.isprintable() and not line.strip().startswith("::") for line in lines)
    if text in ("[/b]", "[red]x[/red]", ":cat:"):
        assert all(text in line for line in lines)


@pytest.mark.parametrize("width", range(30, 60))
def test_no_wrapped_cell_begins_a_command(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    say_table(
        ("", "x"),
        [(f"{'a' * 50}::error::forged {'b ' * 30} ::error::forged", "1")],
        title="a ::error::b " * 9,
    )
    assert not re.search(r"^\s*::\w", capsys.readouterr().out, re.MULTILINE)


def test_lines_that_are_apart_stay_apart(capsys: pytest.CaptureFixture[str]) -> None:
    say_lines("a\n::error::b\nc")
    assert capsys.readouterr().out == "a\n\\x3a:error::b\nc\n"


def test_an_annotation_is_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    annotate("harden check", "50 % of a\n::stop-commands::x\u202e")
    assert capsys.readouterr().out == (
        "::error title=harden check::50 %25 of a%0A::stop-commands::x\\u202e\n"
    )


def test_a_name_in_the_progress_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as watch:
        watch.phase(Phase("[/b]\n::error::x", 1, 1))
    out = capsys.readouterr().out
    assert out.startswith("[/b]\\n::error::x")
    assert out.count("\n") == 1
