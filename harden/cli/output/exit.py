"""Exit codes and one-line messages from results and exceptions."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import typer

from harden.cli.output.exit_codes import INTERRUPTED, OUR_FAULT, USAGE
from harden.cli.output.signals import say_stopped
from harden.errors import HardenError
from harden.standard_streams import LogStream, complain
from harden.system.first_report import is_first_report
from harden.system.package_metadata import missing
from harden.system.single_process import check_alone, launched

_NOTE = "raised by "
# What no program can help: a full or read-only disk, a quota, missing rights.
_SURROUNDINGS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# What somebody else did meanwhile: a folder renamed or removed, a disk unplugged.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO)
_OURS = Path(__file__).resolve().parents[2]


@final
class StoppedError(Exception):
    """A command was interrupted, and says what is left of its work."""


def answer(app: Callable[..., Any], words: Sequence[str], commands: Sequence[str]) -> int:
    """Run the typer application and turn what happens into a line and an exit code."""
    try:
        if not _is_informational(words, commands):
            _check_processes(words, commands)
        result = app(args=list(words) or ["--help"], prog_name="harden", standalone_mode=False)
    except HardenError as error:
        return _say(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        result = INTERRUPTED
    except StoppedError as stopped:
        return say_stopped(str(stopped))
    except BrokenPipeError:
        return 0
    except OSError as error:
        if source := _raised_by(error):
            return _say(str(_of_the_user(error, source)), USAGE)
        if _is_gone(error):
            return _say(
                f"{error.filename}: {error.strerror}; expected files and folders that stay while a command "
                "runs; put it back, and run again",
                USAGE,
            )
        if error.errno not in _SURROUNDINGS:
            return _our_fault()
        where = f"{error.filename}: " if error.filename else ""
        return _say(
            f"{where}{error.strerror}; expected a disk with room and the right to write; "
            "free some, or write another --out",
            USAGE,
        )
    except Exception as error:  # classified as usage, user code or a fault of harden
        if _is_usage(error):
            return _say(str(_usage(error, words, commands)), USAGE)
        if source := _raised_by(error):
            return _say(str(_of_the_user(error, source)), USAGE)
        command = next((word for word in words if word in commands), "")
        if isinstance(error, ImportError) and (said := missing(error, f"harden {command}".strip())):
            return _say(said, USAGE)
        return _our_fault()
    if not words:
        return USAGE
    if result == INTERRUPTED:  # some versions of typer raise, some give the code
        return say_stopped()
    return result if isinstance(result, int) else 0


def _is_informational(words: Sequence[str], commands: Sequence[str]) -> bool:
    """Whether the words compute and write nothing: help, the version, doctor, verify."""
    named = next((word for word in words if word in commands), "")
    return named in ("", "doctor", "verify") or "--help" in words


def _check_processes(words: Sequence[str], commands: Sequence[str]) -> None:
    """Join the other processes of `harden run`, and refuse them to every other command."""
    named = next((word for word in words if word in commands), "")
    if named != "run" or not launched():
        check_alone()
        return
    # Read when torch is loaded: it would print the stack of a process that has lost the others.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from harden.system.ranks import joined

    # The first process speaks for all; what ends one of them is said by that one, see `_say`.
    logging.getLogger("harden").disabled = not joined().is_main


def _say(line: str, code: int) -> int:
    # One line, whatever an exception of somebody else's brought along, and of several processes one says it.
    if is_first_report():
        complain(f"harden: {' '.join(line.splitlines())}")
    return code


def _our_fault() -> int:
    logging.getLogger("harden").disabled = False
    logging.basicConfig(stream=LogStream(), format="%(name)s: %(message)s")  # where it came before --verbose
    logging.getLogger("harden").exception("this is a fault of harden itself; please report it")
    return OUR_FAULT


def _is_gone(error: OSError) -> bool:
    """Whether a file or folder of the user's is no longer there; a missing one of ours is our own fault."""
    if error.errno not in _GONE or not isinstance(error.filename, str):
        return False
    return not Path(error.filename).resolve().is_relative_to(_OURS)


def _raised_by(error: Exception) -> str:
    """The user's function that raised an exception, from the note of the data layer; "" for other code."""
    notes = (note for note in getattr(error, "__notes__", ()) if note.startswith(_NOTE))
    return next(notes, "").removeprefix(_NOTE)


def _of_the_user(error: Exception, source: str) -> HardenError:
    logging.getLogger("harden").info("raised by %s", source, exc_info=error)
    reason = " ".join(str(error).split())[:300] or "no message"
    return HardenError(
        f"{source} raised {type(error).__name__} ({reason})",
        "data that can be read",
        "call it in Python, or write -v, to see where it fails",
    )


def _is_usage(error: Exception) -> bool:
    # By name: typer brings a click of its own from 0.2x on and takes the installed one before.
    return any(kind.__name__ == "ClickException" for kind in type(error).__mro__)


def _usage(error: Exception, words: Sequence[str], commands: Sequence[str]) -> HardenError:
    """The message of typer about a wrong word, in three parts and on one line."""
    message = getattr(error, "format_message", error.__str__)()
    named = next((word for word in words if word in commands), "")
    known = "its options and values" if named else ", ".join(sorted(commands))
    return HardenError(
        " ".join(message.split()).rstrip("."), known, f"see {' '.join(('harden', named)).strip()} --help"
    )
