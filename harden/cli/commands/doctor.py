"""harden doctor."""

from __future__ import annotations

from pathlib import Path

from harden import installation
from harden.cli.output.console import say_table, write_json


def doctor(json_file: Path | None) -> int:
    """Print the state of the installation; 1 where it is broken."""
    found = installation.state()
    say_table(("", ""), [(name, str(value)) for name, value in found.items()])
    write_json(json_file, found)
    return 1 if installation.is_broken(found) else 0
