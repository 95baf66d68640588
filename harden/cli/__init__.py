"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

INTERRUPTED = 130
OUR_FAULT = 70
USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `harden ARGV` and return its exit code: 0 good, 1 the answer is bad, 2 input, 70 our own fault."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and hasattr(signal, "SIGPIPE"):
        # As other tools do: a reader that goes away ends the process, with 141 and not with 1 or 70.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if words[:1] == ["verify"]:
        # Before anything else is imported: verify needs neither torch nor typer nor pydantic.
        from harden.verifier.command import main as verify

        return verify(words[1:])
    from harden.cli.app import run_app

    return run_app(words)
