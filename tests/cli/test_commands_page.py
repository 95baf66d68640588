"""docs/commands.md lists every command, option and default; it is written from the command line itself.

Write it anew with `python -m tests.cli.test_commands_page`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from harden.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEADER = """# Commands

Every command with its options and their defaults, as `harden COMMAND --help` lists them. This page is written
from the command line itself (`python -m tests.cli.test_commands_page` in a checkout), and a test fails where
the two differ. What the words mean: [Guide](guide.md), [Data](data.md), [Evaluation](evaluation.md),
[Regression checks](ci.md). Options can come from [a file](guide.md#options-from-a-file); exit codes are in
[the README](../README.md#the-command-line).
"""


def _cell(text: str) -> str:
    return text.replace("\\[", "[").replace("|", "\\|").replace("\n", " ").strip()


def _default(part: Any) -> str:
    if part.required:
        return "required"
    if getattr(part, "is_flag", False):
        return "on" if part.default else "off"
    if isinstance(part.show_default, str):  # a default that depends on other options, in words
        return f"`{part.show_default}`"
    return "" if part.default in (None, "", (), []) else f"`{part.default}`"


def _rows(command: Any) -> Iterator[str]:
    for part in command.params:
        option = part.opts[0][0] == "-"
        # The longest first: --verbose, -v.
        names = ", ".join(f"`{name}`" for name in sorted(part.opts, key=len, reverse=True))
        if not option:
            names = f"`{part.name.upper()}`" + ("..." if part.nargs == -1 else "")
        yield f"| {names} | {_cell(_default(part))} | {_cell(part.help or '')} |"


def _section(name: str, command: Any) -> Iterator[str]:
    yield f"\n## harden {name}\n"
    yield _cell(command.help or "")
    if command.params:
        yield "\n| option | default | what it says |"
        yield "|---|---|---|"
        yield from _rows(command)
    for inner, each in getattr(command, "commands", {}).items():
        yield from _section(f"{name} {inner}", each)


def page() -> str:
    """The page, from the application."""
    group: Any = get_command(app)
    lines = [line for name, command in group.commands.items() for line in _section(name, command)]
    return HEADER + "\n".join(lines) + "\n"


def test_the_page_is_what_the_command_line_says() -> None:
    assert PAGE.read_text() == page()


def test_every_option_says_what_it_does() -> None:
    cells = [line.split(" | ")[2] for line in page().splitlines() if line.startswith("| `")]
    assert len(cells) > 100
    assert all(cell.removesuffix(" |").strip() for cell in cells)


if __name__ == "__main__":
    PAGE.write_text(page())
