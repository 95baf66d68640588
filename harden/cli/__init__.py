"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harden.cli.options.command_clock import start
from harden.cli.output.exit_codes import INTERRUPTED, OUR_FAULT, TERMINATED, USAGE

__all__ = ["INTERRUPTED", "OUR_FAULT", "TERMINATED", "USAGE", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `harden ARGV` and return its exit code.

    0 good, 1 the answer is bad, 2 usage or input, 70 our own fault, 130 and 143 interrupted and terminated.
    """
    if argv is not None:
        return _run(list(argv))
    from harden.cli.output.signals import listen, say_stopped
    from harden.standard_streams import show_warnings_plainly

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
        from harden.cli.commands.verify_page import check_page
        from harden.verifier.verify_command import main as verify

        return verify(words[1:], check_page)
    try:
        from harden.cli.app import COMMANDS, app
        from harden.cli.output.exit import answer
    except ImportError as error:
        return _incomplete(error)
    return answer(app, words, COMMANDS)


def _incomplete(error: ImportError) -> int:
    """Say what is not installed of that which the command line itself is made of."""
    from harden.standard_streams import complain
    from harden.system.package_metadata import missing

    if (said := missing(error, "the command line")) is None:
        raise error
    complain(f"harden: {said}; harden verify needs none of it")
    return USAGE
