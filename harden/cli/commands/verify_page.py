"""Comparison of report.html with the page that its certificate renders to.

The verifier itself draws nothing and shares no code with what does; this is the command line's addition.
"""

from __future__ import annotations

from pathlib import Path

from harden.errors import HardenError
from harden.system.atomic_files import read_bytes
from harden.system.package_metadata import VERSION
from harden.system.size_limits import JSON_BYTES
from harden.verifier.findings import PAGE, CheckFinding


def check_page(folder: Path) -> CheckFinding | str:
    """Compare report.html with the page rendered from the certificate next to it, byte by byte.

    Returns:
        A finding; or why the page was not checked: jinja2 or pydantic is missing, or another version drew it.
    """
    try:
        from harden.certificate import certificate_file
        from harden.certificate.page import html_page
    except ImportError as error:
        return f"to draw it again takes {error.name or error}, which can't be imported"
    try:
        certificate = certificate_file.read(folder)
        drawn = html_page.render(certificate).encode()
    except HardenError as error:
        return f"it can't be drawn again ({error.seen})"
    if _content(folder / PAGE) == drawn:
        return CheckFinding("page", PAGE, True, "it is what certificate.json is drawn as")
    made_by = certificate.predicate.provenance.versions.get("harden", "another version")
    if made_by != VERSION:
        return f"it differs from what harden {VERSION} draws, and the certificate is of harden {made_by}"
    return CheckFinding(
        "page", PAGE, False, "it is not what certificate.json says; `harden report` draws it again"
    )


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, JSON_BYTES)
    except (OSError, HardenError):  # no file, or one that is far too large: not the page
        return b""
