"""What the machine around a command does to it: full disks, devices, pipes, narrow terminals."""

from __future__ import annotations

import errno
import io
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harden.cli import app, main
from harden.cli.output import console
from harden.evaluation import Phase
from harden.system.atomic_files import write_named
from harden.training import StepRecord


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_closed_disk_is_one_line_and_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(number, "No space left on device", "runs/x/model.onnx")

    monkeypatch.setattr(app, "app", full)
    assert main(["doctor"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("harden: runs/x/model.onnx: No space left on device; expected ")
    assert err.count("\n") == 1


def test_another_error_of_the_system_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(app, "app", broken)
    assert main(["doctor"]) == 70


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_named(Path("/dev/null"), b"gone")
    assert Path("/dev/null").is_char_device()


def test_a_reader_that_goes_away_is_no_verdict() -> None:
    script = "import sys; sys.argv = ['harden', 'doctor']; from harden.cli import main; sys.exit(main())"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate(timeout=120)
    assert child.returncode not in (0, 1, 2, 70)
    assert b"Traceback" not in err


def test_eighty_columns_keep_share_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(console, "_console", narrow)
    with console.ProgressDisplay() as watch:
        watch.step(StepRecord("finetune", 9, 0.37, 12.0, 30.0, 0.5, 1e-3, 0.1, 0.9, 0.71, True))
    assert isinstance(narrow.file, io.StringIO)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", narrow.file.getvalue())
    line = [line for line in plain.splitlines() if "finetune" in line][-1]
    assert len(line) <= 80
    assert "37 %" in line
    assert ":" in line.split("37 %")[1][:30], "time left"
    assert "held-out robust 0.7" in line


def test_a_terminal_shows_robust_accuracy_so_far_and_passes_in_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)
    monkeypatch.setattr(console, "_console", wide)
    with console.ProgressDisplay(images=1000) as watch:
        watch.step(StepRecord("finetune", 9, 0.37, 12.0, 30.0, 0.5, 1e-3, 0.1))
        watch.phase(Phase("attack the file", 30, 40, 0.625, 9000.0, 3.0))
    assert isinstance(wide.file, io.StringIO)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", wide.file.getvalue())
    finetune, attack = [
        [line for line in plain.splitlines() if name in line][-1] for name in ("finetune", "attack the file")
    ]
    assert "37 %" in finetune
    assert "12.0 E  400 passes/s  loss 0.500" in finetune
    assert "75 %" in attack
    assert "robust so far at most 0.625  3,000 passes/s" in attack


def test_without_a_terminal_lines_are_plain_and_say_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Console(file=io.StringIO(), force_terminal=False, width=40, highlight=False)
    clock = iter([100.0, 120.0, 121.0, 130.0, 140.0])
    monkeypatch.setattr(console, "_console", pipe)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with console.ProgressDisplay(images=1000) as watch:
        for share, robust in ((0.2, None), (0.4, None), (0.45, None), (0.5, 0.75), (1.0, None)):
            watch.step(StepRecord("finetune", 9, share, 12.0, 30.0, 0.5, 1e-3, 0.1, robust, robust))
    assert isinstance(pipe.file, io.StringIO)
    lines = pipe.file.getvalue().splitlines()
    assert "\x1b" not in pipe.file.getvalue()
    # Every ten seconds, and where something was measured: not at 45 %.
    assert [line.split()[1] for line in lines] == ["20%", "40%", "50%", "100%"]
    assert "0:01:00 left" in lines[1]
    assert "held-out robust 0.750 clean 0.750" in lines[2]
    assert "left" not in lines[0] + lines[3]


def test_a_runs_folder_takes_no_options_of_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path), "--data", "digits", "--mean", "0.1", "--std", "0.9"]) == 2
    assert "leave these options out" in capsys.readouterr().err
