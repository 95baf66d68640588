"""A page beside a good certificate that says something else: verify tells, or says that it did not look."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.cli.commands.verify_hook import main as hook
from harden.verifier.verify_command import main as standalone

Harden = Callable[..., Any]


def doctor(folder: Path) -> None:
    page = folder / "report.html"
    text = page.read_text()
    assert text.count("<h2") > 3
    page.write_text(text.replace("<h2", "<p>99.9 % robust</p><h2", 1))


def test_the_page_as_it_is_drawn_holds(harden: Harden, folder: Path) -> None:
    answer = harden("verify", folder)
    assert answer.code == 0
    (line,) = (line for line in answer.out.splitlines() if "report.html" in line)
    assert line.startswith("holds ")


@pytest.mark.parametrize("how", ["edited", "cut", "empty", "of another artefact", "a folder"])
def test_a_page_that_says_something_else_is_broken(harden: Harden, folder: Path, how: str) -> None:
    page = folder / "report.html"
    whole = page.read_bytes()
    if how == "edited":
        doctor(folder)
    elif how == "a folder":
        page.unlink()
        page.mkdir()
    else:
        page.write_bytes({"cut": whole[:-20], "empty": b""}.get(how, whole.replace(b"digits", b"faces")))
    if how == "of another artefact" and page.read_bytes() == whole:
        page.write_bytes(whole.replace(b"few", b"all"))
    answer = harden("verify", folder, "--json", folder.parent / "x.json")
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.splitlines()[-1] == "broken: report.html"
    (line,) = (line for line in answer.out.splitlines() if line.startswith("BROKEN"))
    assert "harden report" in line
    assert json.loads((folder.parent / "x.json").read_text())["exit_code"] == 1
    if how != "a folder":
        assert harden("report", folder).code == 0
        assert harden("verify", folder).code == 0


def test_a_missing_page_is_no_matter(harden: Harden, folder: Path) -> None:
    (folder / "report.html").unlink()
    answer = harden("verify", folder)
    assert (answer.code, "report.html" in answer.out) == (0, False)


def test_without_what_draws_it_the_page_is_said_not_to_be_checked(
    harden: Harden, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor(folder)
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "harden.certificate.page" and rest[2:] and "html_page" in (rest[2] or ()):
            raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    answer = harden("verify", folder, "--json", folder.parent / "x.json")
    assert answer.code == 0
    (line,) = (line for line in answer.out.splitlines() if "report.html" in line)
    assert "not checked: to draw it again takes jinja2" in line
    assert not line.startswith("holds")
    assert "jinja2" in json.loads((folder.parent / "x.json").read_text())["page_not_checked"]


def test_the_verifier_by_itself_draws_nothing_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor(folder)
    assert standalone([str(folder)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "report.html" in line)
    assert "not checked" in line


def test_a_page_of_another_version_is_not_called_doctored(
    harden: Harden, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor(folder)
    monkeypatch.setattr("harden.cli.commands.verify_page.VERSION", "0.0.9")
    answer = harden("verify", folder)
    assert answer.code == 0
    assert "not checked: it differs from what harden 0.0.9 draws, and the certificate is of" in answer.out


def test_the_hook_looks_at_the_page_too(folder: Path) -> None:
    assert hook([str(folder / "report.html")]) == 0
    doctor(folder)
    assert hook([str(folder / "report.html")]) == 1
