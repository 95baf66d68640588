"""Plain lines on standard output and error; all output goes through here or `cli.output.console`."""

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
    """Escape characters that an output's encoding lacks, so that a terminal without UTF-8 raises no error."""
    known = encoding or "utf-8"
    return text.encode(known, "backslashreplace").decode(known)


@final
class LogStream:
    """The current standard error, so that log lines appear above progress bars, which replace it temporarily.

    A record is one write. Its first line is printed as every line is; further lines, mostly of a traceback,
    are indented, so that no line break in a message can begin an ordinary line.
    """

    def write(self, text: str) -> int:
        """Print a record."""
        first, *others = text.rstrip("\n").split("\n")
        complain(first)
        for line in others:
            complain(f"  | {line}")
        return len(text)

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()


def show_warnings_plainly() -> None:
    """Print Python's warnings, mostly of other libraries, as ordinary lines."""

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
