"""The documentation can be read and typed: the field's words, short lines, module paths that resolve."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for folder in (".", "docs", "cpp_ext", "benchmarks", "examples/ci")
    for page in (ROOT / folder).glob("*.md")
)
LONGEST = 200

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
TARGET = re.compile(r"\]\([^)\s]+\)")

# Words that this project once used in a sense of its own, and what to write instead.
DIALECT = {
    r"stand|stands|standing|stood": "robust, unbroken, not yet misclassified; is, has, contains",
    r"climb|climbs|climbed|climbing": "gradient ascent, maximise, optimise",
    r"steer|steers|steered|steering": "surrogate gradient; gradients are taken from",
    r"told|tell|tells": "reported, stated; distinguish",
    r"beside": "next to, compared with, in addition to",
    r"ask|asks|asked|asking": "query, request",
    r"road|roads|house|houses|door|doors|storey|attic": "the plain noun: way, package, entry point",
    r"look|looks|looked|looking": "inspect, examine, read, see",
    r"cheap|cheaper|cheapest": "costs little, faster",
    r"wait|waits|waited": "block; or leave it out",
}
WORDS = re.compile(rf"\b({'|'.join(DIALECT)})\b", re.IGNORECASE)

# `harden.toml` is a file, not a module.
PATH = re.compile(r"(?<![\w./])harden(?:\.[A-Za-z_]\w*)+(?![\w/])")
FILES = {"harden.toml"}


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _prose(text: str) -> str:
    """A page without code, marks and link targets; lines keep their numbers."""
    for pattern in (FENCE, COMMENT):
        text = pattern.sub(lambda found: "\n" * found.group().count("\n"), text)
    for pattern in (CODE, TARGET):
        text = pattern.sub("", text)
    return text


def dialect(text: str) -> list[str]:
    """The words of `DIALECT` in a text, each with its line and what to write instead."""
    return [
        f"line {number}: {found!r}; write {instead}"
        for number, line in enumerate(_prose(text).splitlines(), 1)
        for found in WORDS.findall(line)
        for words, instead in DIALECT.items()
        if re.fullmatch(words, found, re.IGNORECASE)
    ]


def too_long(text: str) -> list[str]:
    """The lines of prose, tables, code and marks left out, that have more than `LONGEST` characters."""
    plain = FENCE.sub(lambda found: "\n" * found.group().count("\n"), text)
    plain = COMMENT.sub("", plain)
    return [
        f"line {number}: {len(line)} characters"
        for number, line in enumerate(plain.splitlines(), 1)
        if len(line) > LONGEST and not line.startswith("|")
    ]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    assert not dialect(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_lines_of_prose_are_short(page: Path) -> None:
    assert not too_long(page.read_text())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("images that still stand", 1),
        ("It Climbs the gradient, and asks\nwhat it was told", 3),
        ("`stand` and [a link](stand.md)\n```\nask\n```\n<!-- test: beside -->", 0),
        ("understanding, standard, a cheapskate", 0),
    ],
)
def test_the_words_are_found_in_prose_alone(text: str, count: int) -> None:
    assert len(dialect(text)) == count


def test_long_lines_are_found_in_prose_alone() -> None:
    long = "a " * 120
    assert too_long(f"short\n{long}\n| {long} |\n") == ["line 2: 240 characters"]
    assert not too_long(f"```\n{long}\n```\n")


def _attributes() -> dict[str, set[str]]:
    """The dotted paths below `harden` in code of the pages, each with the pages that have it.

    Imports are left out: those the blocks' own tests run, and they reach modules that an attribute does not.
    """
    found: dict[str, set[str]] = {}
    for page in PAGES:
        text = page.read_text()
        code = CODE.findall(FENCE.sub("", COMMENT.sub("", text)))
        for language, block in FENCE.findall(text):
            if language == "python":
                code += [line for line in block.splitlines() if not line.startswith(("from ", "import "))]
        for path in (path for part in code for path in PATH.findall(part)):
            if path not in FILES:
                found.setdefault(path, set()).add(_name(page))
    return found


# Each path in a process of its own, forked where `import harden` is all of harden that was imported.
# What harden imports from others is loaded before, for speed.
RESOLVE = """
import os, sys
import numpy, onnx, onnxruntime, torch
import harden

failed = 0
for path in sys.argv[1:]:
    child = os.fork()
    if not child:
        value = harden
        try:
            for name in path.split(".")[1:]:
                value = getattr(value, name)
        except AttributeError as error:
            print(f"{path}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed != 0)
"""


def test_module_paths_of_the_pages_resolve_after_import_harden_alone() -> None:
    paths = _attributes()
    assert {"harden.bounds", "harden.graph.read", "harden.threats.ChannelLinf"} <= set(paths)
    command = [sys.executable, "-c", RESOLVE, *sorted(paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def _imports() -> list[tuple[str, str, str]]:
    found = []
    for page in PAGES:
        for language, block in FENCE.findall(page.read_text()):
            if language == "python":
                for node in ast.walk(ast.parse(block)):
                    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harden"):
                        found += [(_name(page), node.module or "", each.name) for each in node.names]
    return found


def test_names_that_the_pages_import_are_there() -> None:
    found = _imports()
    assert len(found) > 20
    for page, module, name in found:
        scope: dict[str, object] = {}
        exec(f"from {module} import {name}", scope)
        assert name in scope, page
