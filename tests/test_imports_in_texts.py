"""Programs that tests keep as texts import modules and names that exist.

Type checkers do not see them, and a test that expects its program to fail would not notice a stale import.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The programs of the first run in a copy of the project to which it adds modules; this file has a stale one.
LEFT_OUT = {"tests/test_contributing.py", "tests/test_imports_in_texts.py"}
IMPORT = re.compile(r"(?:^|[;\n])\s*(?:from (harden[\w.]*) import ([\w, ]+)|import (harden[\w.]*))")


def imports_of(file: Path) -> list[tuple[str, str]]:
    """Imports (module, name) of harden in the texts of a file; the name is "" for `import module`."""
    texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
    found = []
    for text in texts:
        for module, names, whole in IMPORT.findall(text) if isinstance(text, str) else ():
            if whole:
                found.append((whole, ""))
            found += [(module, name.split(" as ")[0].strip()) for name in names.split(",") if name.strip()]
    return found


def exists(module: str, name: str) -> bool:
    try:
        if name == "" or hasattr(importlib.import_module(module), name):
            return importlib.import_module(module) is not None
        return importlib.import_module(f"{module}.{name}") is not None
    except ModuleNotFoundError:
        return False


FILES = [
    file
    for folder in ("tests", "benchmarks", "harden")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if str(file.relative_to(ROOT)) not in LEFT_OUT and imports_of(file)
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_import_exists(file: Path) -> None:
    assert [what for what in imports_of(file) if not exists(*what)] == []


def test_a_stale_import_is_found(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text('RUN = """\nimport sys\nfrom harden.kernels import loading, backend\n"""\n')
    assert [what for what in imports_of(program) if not exists(*what)] == [("harden.kernels", "loading")]
