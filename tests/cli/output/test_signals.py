"""The installed command as a shell sees it: exit codes, signals, what is imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.cli import INTERRUPTED, OUR_FAULT, USAGE

Harden = Callable[..., Any]
COMMANDS = ("demo", "run", "evaluate", "export", "report", "verify", "check", "baseline", "doctor")


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


def begun(
    command: str, environment: dict[str, str], npz: str, out: Path, *more: str
) -> subprocess.Popen[str]:
    """A run that will not end by itself, in training."""
    words = ["run", "--data", npz, "--out", str(out), "--finetune", "standard", "--budget", "100000epochs"]
    child = subprocess.Popen(
        [command, *words, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    if child.stdout is None or not any(
        line.startswith("finetune") for line in iter(child.stdout.readline, "")
    ):
        pytest.fail(f"training never began: {child.communicate()}")
    return child


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_in_training_before_anything_was_kept(
    command: str,
    environment: dict[str, str],
    harden: Harden,
    npz: str,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    word: str,
) -> None:
    out = tmp_path / "out"
    with begun(command, environment, npz, out) as child:
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert err == f"harden: {word}; nothing half-written was left\n"
    assert not out.exists()
    # The folder serves the next run.
    fast = ("--budget", "1epochs", "--steps", "1", "--restarts", "1", "--finetune", "standard")
    assert harden("run", "--data", npz, "--out", out, *fast).code == 0
    assert harden("verify", out).code == 0


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_in_training_says_how_to_go_on(
    command: str,
    environment: dict[str, str],
    npz: str,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    word: str,
) -> None:
    out = tmp_path / "out"
    with begun(command, environment, npz, out, "--checkpoint-every", "0") as child:
        kept = out / "progress" / "state.safetensors"
        while not kept.exists() and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert err == f"harden: {word}; what was done is in {out / 'progress'}; go on with --resume\n"
    assert {path.name for path in out.iterdir()} == {"progress"}


@pytest.mark.parametrize("words", [("verify", "folder"), ("doctor",)], ids=["verify", "doctor"])
def test_a_signal_anywhere_is_one_line_and_no_verdict(
    environment: dict[str, str], words: tuple[str, ...]
) -> None:
    """Also in verify, whose exit code 1 would be a verdict, and while modules are loaded."""
    child = subprocess.Popen(
        [sys.executable, "-c", LISTENING, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "listening\n"
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (143, "harden: terminated; nothing half-written was left\n")


@pytest.mark.parametrize("later", [signal.SIGINT, signal.SIGTERM], ids=["then SIGINT", "then SIGTERM"])
@pytest.mark.parametrize(
    ("first", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_second_signal_lets_what_is_closed_be_closed(
    environment: dict[str, str], first: signal.Signals, later: signal.Signals, code: int, word: str
) -> None:
    with closing(environment) as child:
        child.send_signal(first)
        assert child.stdout is not None
        assert child.stdout.readline() == "closing\n"
        for _ in range(3):
            child.send_signal(later)
            time.sleep(0.05)
        out, err = child.communicate("go on\n", timeout=60)
    assert (child.returncode, out) == (code, "closed\n")
    assert err == f"harden: {word}; nothing half-written was left\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_process_that_is_held_up_ends_at_a_later_signal(
    environment: dict[str, str], number: signal.Signals
) -> None:
    with closing(environment, "signals.GRACE = 0.0") as child:
        child.send_signal(number)
        assert child.stdout is not None
        assert child.stdout.readline() == "closing\n"
        child.send_signal(number)
        assert child.wait(60) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]


def closing(environment: dict[str, str], before: str = "") -> subprocess.Popen[str]:
    """A command that listens to signals, and is slow to close what is open until it is told to go on."""
    child = subprocess.Popen(
        [sys.executable, "-c", CLOSING.format(before=before)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "working\n"
    return child


CLOSING = """
import sys, time
import harden.cli
from harden.cli.output import signals
{before}
def work(words):
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        print("closing", flush=True)
        sys.stdin.readline()
        print("closed", flush=True)
harden.cli._run = work
sys.exit(harden.cli.main())
"""

# The signal is sent when it is listened to and before the command could have ended.
LISTENING = """
import sys
sys.argv = ["harden", *sys.argv[1:]]
from harden.cli import main
from harden.cli.output import signals
listen = signals.listen
def then_wait():
    listen()
    print("listening", flush=True)
    import time
    time.sleep(60)
signals.listen = then_wait
sys.exit(main())
"""


def test_the_log_is_shown_with_v_before_and_after_the_command(
    installed: Harden, npz: str, tmp_path: Path
) -> None:
    fast = ("--steps", "1", "--restarts", "1", "--budget", "1epochs", "--finetune", "standard")
    words = ("run", "--data", npz, "--out", tmp_path / "out", *fast)
    answer = installed(*words, "-v")
    assert answer.code == 0
    assert "harden: " in answer.err
    assert "Linear 64 -> 10" in answer.err  # what was found in the network
    assert all(line.startswith("harden: ") for line in answer.err.splitlines()), "the library's log alone"
    assert "harden: " in installed("-v", *words, "--force").err
    assert installed(*words, "--force").err == ""
