"""harden report."""

from __future__ import annotations

from pathlib import Path

from harden.artefact.artefact_folder import PAGE_FILE
from harden.certificate import certificate_file
from harden.certificate.page import html_page
from harden.cli.output.console import say, write_file
from harden.errors import InputError
from harden.system.folder_lock import locked

_PAGE = b"<!doctype html"


def report(folder: Path, out: Path | None) -> None:
    """Write the page again."""
    target = out or folder / PAGE_FILE
    drawn = html_page.render(certificate_file.read(folder))
    if out is None:
        # A run that is about to replace this artefact must not find the older one's page in its folder.
        with locked(folder):
            write_file(target, drawn, named=False)
    else:
        _check_replaceable(target)
        write_file(target, drawn)
    say(f"wrote {target}")


def _check_replaceable(target: Path) -> None:
    """Refuse to write the page over a file that is no page.

    Raises:
        InputError: it is such a file.
    """
    if target.is_file() and not target.read_bytes()[:64].lstrip().lower().startswith(_PAGE):
        raise InputError(
            f"--out {target}, which is there and is no page",
            "a new file, or a page to replace",
            "name another",
        )
