"""Statements in the documentation that name what holds them, in a comment that no reader of the page sees.

Two forms, each right behind its statement:

    <!-- holds: len(harden.evaluation.trust.closing_attempts.RESERVED) == 3 -->
    <!-- test: tests/verifier/test_replay.py::test_a_name -->

The first is an expression over `harden` and its modules that has to be true. The second names a test. So a
statement can't outlive the code that it speaks of without a test that fails.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import harden
from harden.cli.app import app
from harden.cli.output.exit_codes import INTERRUPTED, OUR_FAULT, TERMINATED, USAGE
from harden.errors import BaselineError, BrokenClaimError, HardenError, InputError
from harden.regression.verdict import Verdict

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MARK = re.compile(r"<!-- (holds|test): (.+?) -->", re.DOTALL)
MODULE = re.compile(r"harden(?:\.[a-z_]+)+")
CODES = re.compile(r"^\| (?:exit )?code \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE)
INCONCLUSIVE = 3
EVERY = {0, 1, USAGE, INCONCLUSIVE, BaselineError.exit_code, OUR_FAULT, INTERRUPTED, TERMINATED}


def _marks(kind: str) -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), text)
        for page in PAGES
        for found, text in MARK.findall(page.read_text())
        if found == kind
    ]


def _import(expression: str) -> None:
    """Import the modules that an expression names: a package alone does not bring all of its own."""
    for dotted in MODULE.findall(expression):
        parts = dotted.split(".")
        for end in range(2, len(parts) + 1):
            try:
                importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                break


def _commands() -> dict[str, Any]:
    group: Any = get_command(app)
    return dict(group.commands)


def _default(command: str, option: str) -> object:
    """The default of an option, for statements about it."""
    (found,) = (part for part in _commands()[command].params if option in part.opts)
    return found.default


@pytest.mark.parametrize(("page", "expression"), _marks("holds"))
def test_what_a_page_says_holds_is_so(page: str, expression: str) -> None:
    _import(expression)
    names = {"harden": harden, "default": _default, "signature": inspect.signature}
    assert eval(expression, names) is True, f"{page}: {expression}"


@pytest.mark.parametrize(("page", "name"), _marks("test"))
def test_the_test_that_a_page_names_is_there(page: str, name: str) -> None:
    path, _, function = name.partition("::")
    assert (ROOT / path).is_file(), f"{page}: there is no {path}"
    tree = ast.parse((ROOT / path).read_text())
    assert function in {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}, name


def test_pages_with_promises_name_what_holds_them() -> None:
    marked = {page for kind in ("holds", "test") for page, _ in _marks(kind)}
    named = "guide data models threat-models evaluation bounds certificate ci design"
    assert marked >= {"README.md", "SECURITY.md", *(f"docs/{name}.md" for name in named.split())}
    assert len(_marks("holds")) + len(_marks("test")) >= 80


def _items(page: str, heading: str) -> Iterator[str]:
    """The items of a section's list."""
    section = (ROOT / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    yield from re.split(r"^(?:\d+\.|-) ", section, flags=re.MULTILINE)[1:]


def test_every_promise_of_the_readme_names_what_holds_it() -> None:
    items = list(_items("README.md", "What it promises"))
    assert len(items) == 3
    for item in items:
        assert MARK.search(item), f"nothing holds: {item}"


def _tables() -> list[tuple[str, list[int]]]:
    return [
        (str(page.relative_to(ROOT)), [int(code) for code in re.findall(r"\b\d+\b", row.split("|")[1])])
        for page in PAGES
        for rows in CODES.findall(page.read_text())
        for row in rows.splitlines()
    ]


def test_exit_codes_in_the_pages_are_those_of_the_code() -> None:
    table = _tables()
    assert {page for page, _ in table} >= {"README.md", "docs/guide.md", "docs/ci.md", "docs/certificate.md"}
    assert {code for _, codes in table for code in codes} <= EVERY
    assert {code for page, codes in table if page == "README.md" for code in codes} == EVERY


def test_errors_have_the_exit_codes_that_the_pages_give_them() -> None:
    assert {error.exit_code for error in (HardenError, InputError)} == {USAGE}
    assert BrokenClaimError.exit_code == 1
    assert "inconclusive_fails" in inspect.signature(Verdict.exit_code).parameters
    guide = (ROOT / "docs" / "guide.md").read_text()
    listed = re.findall(r"^\| `(\w+Error)`[^|]*\| (\d+) \|", guide, re.MULTILINE)
    assert len(listed) > 10
    for name, code in listed:
        assert getattr(harden.errors, name).exit_code == int(code), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_default_that_prose_gives_an_option_is_the_option_s(page: Path) -> None:
    """Such as `--radius-steps` (default 4), and `--attacks pgd`, the default."""
    text = page.read_text()
    said = re.findall(r"`(--[a-z-]+)` \(default `?([\w./]+)`?\)", text)
    said += re.findall(r"`(--[a-z-]+) ([\w./]+)`, the default", text)
    for option, value in said:
        defaults = {
            str(part.default)
            for command in _commands().values()
            for each in (command, *getattr(command, "commands", {}).values())
            for part in each.params
            if option in part.opts
        }
        assert value in defaults, f"{option} is said to be {value} by default; it is {sorted(defaults)}"
