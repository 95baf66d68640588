"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harden.cli.clock import start
from harden.cli.codes import INTERRUPTED, OUR_FAULT, TERMINATED, USAGE

__all__ = ["INTERRUPTED", "OUR_FAULT", "TERMINATED", "USAGE", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `harden ARGV` and return its exit code.

    0 good, 1 the answer is bad, 2 usage or input, 70 our own fault, 130 and 143 interrupted and terminated.
    """
    if argv is not None:
        return _run(list(argv))
    from harden.cli.signals import listen, say_stopped
    from harden.terminal import show_warnings_plainly

    try:
        listen()
        show_warnings_plainly()
        return _run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are loaded, or in verify
        return say_stopped()


def _run(words: list[str]) -> int:
    start()
    if words[:1] == ["verify"]:
        # Before anything else is imported: verify needs neither torch nor typer nor pydantic.
        from harden.verifier.command import main as verify

        return verify(words[1:])
    from harden.cli.answers import answer
    from harden.cli.app import COMMANDS, app

    return answer(app, words, COMMANDS)
