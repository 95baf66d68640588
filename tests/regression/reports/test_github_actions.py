"""Output for GitHub jobs: a summary within its limit, and annotations of one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.regression.reports.github_actions import LIMIT, annotation, append_summary, fitting


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
