"""Lines go out whole and plain, whatever they are made of and whatever the terminal can show."""

from __future__ import annotations

import io
import logging
import sys
import warnings

import pytest

from harden.standard_streams import LogStream, complain, say, show_warnings_plainly


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("class a\nverified: all\x1b[2J")
    complain("::error::forged")
    captured = capsys.readouterr()
    assert captured.out == "class a\\nverified: all\\x1b[2J\n"
    assert captured.err == "\\x3a:error::forged\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_encoding_is_an_obstacle(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    say("ε \udcff 猫")
    shown = written.getvalue().decode(encoding)
    assert shown == {"utf-8": "ε \\udcff 猫\n"}.get(encoding, "\\u03b5 \\udcff \\u732b\n")


def test_a_message_of_several_lines_begins_none_but_its_first(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.Logger("harden")
    handler = logging.StreamHandler(LogStream())
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    log.addHandler(handler)
    try:
        raise ValueError("a\n::add-mask::b\nverified: c")
    except ValueError:
        log.exception("node %s", "x\nverified: y\r\x1b[1A")
    handler.flush()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["harden: node x", "  | verified: y\\r\\x1b[1A"]
    assert lines[-2:] == ["  | ::add-mask::b", "  | verified: c"]
    assert all(line.startswith(("harden: ", "  | ")) for line in lines)


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        show_warnings_plainly()
        warnings.warn_explicit("a\nverified: b\x1b[2J", UserWarning, "their.py", 3)
    assert capsys.readouterr().err == "their.py:3: UserWarning: a\\nverified: b\\x1b[2J\n"
