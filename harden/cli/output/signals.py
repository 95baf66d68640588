"""Ctrl-C and SIGTERM as interruptions: what is open is closed, and the exit code is 130 or 143.

The first decides. One that comes while the first is being dealt with, an impatient second Ctrl-C, lets that
finish; one that comes later, when the process hangs, ends it at once. The code is that of the first.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Final, final

from harden.cli.output.exit_codes import INTERRUPTED, TERMINATED
from harden.standard_streams import complain
from harden.system.first_report import is_first_report

GRACE: Final = 10.0
"""Seconds for closing what is open, in which nothing interrupts it."""

_FIRST: dict[int, tuple[int, float]] = {}  # by process: the exit code, the moment


@final
class Terminated(KeyboardInterrupt):
    """SIGTERM: by the scheduler of a cluster, `docker stop`, or a shutdown."""


def listen() -> None:
    """Let both raise where the process is, and a closed pipe end it as with other tools."""
    signal.signal(signal.SIGTERM, _interrupt)
    # It is ignored where a shell has put the command into its background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if hasattr(signal, "SIGPIPE"):
        # A reader that goes away ends the process, with 141 and not with 1 or 70.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def say_stopped(what_is_left: str = "nothing half-written was left") -> int:
    """Say that the command was interrupted, and return the exit code: 143 after SIGTERM, else 130.

    Of several processes of a run one says it.
    """
    # By the process and not by the exception: typer turns that into a code of its own.
    code, _ = _FIRST.get(os.getpid(), (INTERRUPTED, 0.0))
    if is_first_report():
        complain(f"harden: {'terminated' if code == TERMINATED else 'interrupted'}; {what_is_left}")
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    now, terminated = time.monotonic(), number == signal.SIGTERM
    if (first := _FIRST.get(os.getpid())) is not None:
        if now - first[1] > GRACE:
            os._exit(first[0])
        return
    _FIRST[os.getpid()] = (TERMINATED if terminated else INTERRUPTED, now)
    raise Terminated if terminated else KeyboardInterrupt
