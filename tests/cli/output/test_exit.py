"""What a command returns or raises, as an exit code and one line."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.cli.output.exit import StoppedError, answer
from harden.errors import BrokenClaimError, HardenError, InputError

Harden = Callable[..., Any]
COMMANDS = ("doctor", "run")


def ended(outcome: object) -> int:
    """The exit code of `harden doctor` where the application returns or raises this."""

    def app(**words: object) -> object:
        assert words == {"args": ["doctor"], "prog_name": "harden", "standalone_mode": False}
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return answer(app, ["doctor"], COMMANDS)


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (4, 4), ("done", 0)])
def test_a_returned_code_is_the_exit_code(
    result: object, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(result) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [InputError, BrokenClaimError])
def test_an_error_of_harden_is_one_line_with_its_own_code(
    kind: type[HardenError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("two\nlines", "one", "write one")
    assert ended(error) == error.exit_code
    assert capsys.readouterr().err == "harden: two lines; expected one; write one\n"


def test_the_surroundings_are_no_fault_of_harden(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(OSError(errno.ENOSPC, "No space left on device", "/data/out")) == 2
    assert capsys.readouterr().err.startswith("harden: /data/out: No space left on device; expected a disk")
    assert ended(FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/gone")) == 2
    assert capsys.readouterr().err.startswith("harden: /data/gone: No such file or directory; expected files")


def test_a_missing_file_of_our_own_is_our_fault(caplog: pytest.LogCaptureFixture) -> None:
    import harden

    own = str(Path(harden.__file__).with_name("no_such_file"))
    with caplog.at_level(logging.ERROR, "harden"):
        assert ended(FileNotFoundError(errno.ENOENT, "No such file or directory", own)) == 70
    assert "a fault of harden itself" in caplog.text


def test_an_error_of_a_users_function_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    error = KeyError("label")
    error.add_note("raised by mine:images")
    assert ended(error) == 2
    assert capsys.readouterr().err.startswith("harden: mine:images raised KeyError ('label'); expected data")


def test_what_is_left_of_interrupted_work_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(StoppedError("what was done is in out/progress")) == 130
    assert capsys.readouterr().err == "harden: interrupted; what was done is in out/progress\n"


def test_no_command_shows_the_help_and_is_wrong_usage(harden: Harden) -> None:
    answer = harden()
    assert (answer.code, answer.err) == (2, "")
    assert "Usage: harden" in answer.out


def test_a_fault_of_ours_is_70(
    harden: Harden, finished: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("we divided by zero")

    monkeypatch.setattr("harden.cli.commands.report.report", fail)
    with caplog.at_level(logging.ERROR, "harden"):
        assert harden("report", finished).code == 70
    (record,) = caplog.records
    assert "this is a fault of harden itself" in record.message
    assert record.exc_info is not None
    assert "we divided by zero" in str(record.exc_info[1])


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_interruptions_are_no_faults(
    harden: Harden, finished: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def stop(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("harden.cli.commands.report.report", stop)
    answer = harden("report", finished)
    assert answer.code == (130 if error is KeyboardInterrupt else 0)
    assert answer.err.count("\n") == (1 if error is KeyboardInterrupt else 0)
