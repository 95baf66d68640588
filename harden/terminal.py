"""The only door to standard output and error, but for the tables and bars of `cli.console`: plain lines."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO, final

from harden.printable_text import log_line


def say(line: str = "") -> None:
    """Print one line to standard output, at once."""
    _print(line, sys.stdout)


def complain(line: str) -> None:
    """Print one line to standard error."""
    _print(line, sys.stderr)


def encodable(text: str, encoding: str | None) -> str:
    """Escape what an output's encoding has no code for: a terminal without UTF-8 is no reason to fail."""
    known = encoding or "utf-8"
    return text.encode(known, "backslashreplace").decode(known)


@final
class LogStream:
    """The standard error of the moment, so that log lines stay above bars, which replace it for a while.

    A record is one write. Its first line is printed as every line is; what follows, a traceback mostly, is
    set off, so that no line break in a message can begin a line of its own.
    """

    def write(self, text: str) -> int:
        """Print a record."""
        first, *others = text.rstrip("\n").split("\n")
        complain(first)
        for line in others:
            complain(f"  | {line}")
        return len(text)

    def flush(self) -> None:
        """Bring what was written to its reader."""
        sys.stderr.flush()


def show_warnings_plainly() -> None:
    """Let Python's warnings, of other libraries mostly, go out as lines like all others."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        complain(f"{filename}:{lineno}: {category.__name__}: {message}")

    warnings.showwarning = show


def _print(line: str, stream: TextIO) -> None:
    print(encodable(log_line(line), getattr(stream, "encoding", None)), file=stream, flush=True)
