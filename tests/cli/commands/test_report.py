"""harden report: the page is written again from the certificate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Harden = Callable[..., Any]


def test_report_writes_the_same_page_again(folder: Path, harden: Harden, tmp_path: Path) -> None:
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    answer = harden("report", folder)
    assert (answer.code, answer.err) == (0, "")
    assert (folder / "report.html").read_bytes() == page
    assert harden("report", folder, "--out", tmp_path / "new" / "page.html").code == 0
    assert (tmp_path / "new" / "page.html").read_bytes() == page


def test_report_of_an_edited_certificate_is_1(folder: Path, harden: Harden) -> None:
    path = folder / "certificate.json"
    path.write_text(path.read_text().replace('"eps": "1/10"', '"eps": "1/5"'))
    answer = harden("report", folder)
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "has changed since it was sealed" in answer.err


def test_the_page_replaces_no_other_file(harden: Harden, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# mine")
    answer = harden("report", folder, "--out", tmp_path / "notes.md")
    assert (answer.code, (tmp_path / "notes.md").read_text()) == (2, "# mine")
    for _ in range(2):
        assert harden("report", folder, "--out", tmp_path / "page.html").code == 0
