"""The installed command as a shell sees it: exit codes, signals, what is imported."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.cli import INTERRUPTED, OUR_FAULT, USAGE

Harden = Callable[..., Any]
COMMANDS = ("demo", "run", "evaluate", "export", "report", "verify", "doctor")


def test_exit_codes_are_those_of_the_manual() -> None:
    assert (INTERRUPTED, OUR_FAULT, USAGE) == (130, 70, 2)


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_needs_no_torch(words: list[str]) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from harden.cli import main\n"
        f"code = main({words!r})\n"
        "raise SystemExit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.lower()
    assert "usage: harden" in shown
    for name in COMMANDS if words == ["--help"] else words[:1]:
        assert name in shown


def test_no_command_shows_the_help_and_is_wrong_usage(harden: Harden) -> None:
    answer = harden()
    assert (answer.code, answer.err) == (2, "")
    assert "Usage: harden" in answer.out


def test_the_installed_command_passes_exit_codes_on(installed: Harden, finished: Path, folder: Path) -> None:
    answer = installed("verify", finished)
    assert (answer.code, answer.err) == (0, "")
    assert "verified: linf 1/10" in answer.out
    (folder / "evidence.npz").write_bytes(b"")
    assert installed("verify", folder).code == 1
    answer = installed("verify", folder / "checkpoint")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    answer = installed("run", "--data", "digits", "--out", folder, "--eps", "8")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "harden: eps 8; expected at most 1, the width of the box (0.0, 1.0); did you mean 8/255?\n"
    )


def test_a_fault_of_ours_is_70(
    harden: Harden, finished: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("we divided by zero")

    monkeypatch.setattr("harden.cli.report.report", fail)
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

    monkeypatch.setattr("harden.cli.report.report", stop)
    answer = harden("report", finished)
    assert answer.code == (130 if error is KeyboardInterrupt else 0)
    assert answer.err.count("\n") == (1 if error is KeyboardInterrupt else 0)


def test_control_c_in_training(
    command: str,
    environment: dict[str, str],
    harden: Harden,
    npz: str,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    words = ["run", "--data", npz, "--out", str(out), "--finetune", "standard"]
    child = subprocess.Popen(
        [command, *words, "--budget", "100000epochs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with child:
        assert child.stdout is not None
        lines = iter(child.stdout.readline, "")
        assert any(line.startswith("finetune") for line in lines), "training never began"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err == "harden: interrupted; nothing half-written was left\n"
    assert not out.exists()
    # The folder serves the next run.
    fast = ("--budget", "1epochs", "--steps", "1", "--restarts", "1")
    assert harden(*words, *fast).code == 0
    assert harden("verify", out).code == 0
