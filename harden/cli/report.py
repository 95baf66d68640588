"""harden report."""

from __future__ import annotations

from pathlib import Path

from harden.artefact.folder import PAGE_FILE
from harden.certificate import document, page
from harden.cli.console import say, write_file


def report(folder: Path, out: Path | None) -> None:
    """Write the page again."""
    target = out or folder / PAGE_FILE
    write_file(target, page.render(document.read(folder)), named=out is not None)
    say(f"wrote {target}")
