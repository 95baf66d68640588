"""Output for GitHub jobs: a section of the summary, and an annotation of a failure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harden.errors import InputError
from harden.printable_text import one_line
from harden.system.atomic_files import append_named

SUMMARY = "GITHUB_STEP_SUMMARY"
LIMIT = 1 << 20
"""Bytes that one step's summary may hold; more, and GitHub shows none of it."""

_CUT = "\n\n(cut: a step's summary holds 1 MiB)\n"


def append_summary(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Append Markdown to the step's summary, where the environment names one, as far as it has room.

    Returns whether anything was written. A file that can't be written is not worth failing for: the answer
    is in the exit code.
    """
    name = environment.get(SUMMARY)
    if not name:
        return False
    path = Path(name)
    try:
        room = LIMIT - (path.stat().st_size if path.exists() else 0)
        content = fitting(text, room)
        if not content:
            return False
        append_named(path, content)
    except (OSError, InputError):
        return False
    return True


def fitting(text: str, room: int) -> bytes:
    """The text in UTF-8, cut at the end of a line where it is larger than the room."""
    content = text.encode()
    if len(content) <= room:
        return content
    left = room - len(_CUT.encode())
    if left <= 0:
        return b""
    kept = content[:left]
    return kept[: kept.rfind(b"\n") + 1] + _CUT.encode()


def annotation(title: str, message: str) -> str:
    """The line that makes GitHub show an error next to the job: both texts escaped, so that they stay one."""
    text, head = _data(message), _data(title)
    return f"::error title={head.replace(':', '%3A').replace(',', '%2C')}::{text}"


def _data(text: str) -> str:
    """A command's data: line ends as the runner reads them, what else does not print escaped."""
    encoded = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return one_line(encoded)
