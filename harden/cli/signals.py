"""SIGTERM as an interruption: what is open is closed, as after Ctrl-C, and the exit code is 143."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import final

from harden.cli.codes import INTERRUPTED, TERMINATED
from harden.terminal import complain

_OWNERS: set[int] = set()  # processes that were told to end


@final
class Terminated(KeyboardInterrupt):
    """SIGTERM: by the scheduler of a cluster, `docker stop`, or a shutdown."""


def listen() -> None:
    """Let SIGTERM raise where the process is, and a closed pipe end it as with other tools."""
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGPIPE"):
        # A reader that goes away ends the process, with 141 and not with 1 or 70.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def say_stopped(what_is_left: str = "nothing half-written was left") -> int:
    """Say that the command was interrupted, and return the exit code: 143 after SIGTERM, else 130."""
    # By the process and not by the exception: typer turns that into a code of its own.
    told = os.getpid() in _OWNERS
    complain(f"harden: {'terminated' if told else 'interrupted'}; {what_is_left}")
    return TERMINATED if told else INTERRUPTED


def _terminate(number: int, frame: FrameType | None) -> None:
    # A second one, while the first is being dealt with, is left to do what it does by default.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _OWNERS.add(os.getpid())
    raise Terminated
