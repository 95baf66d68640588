"""--resume on the command line: what it goes on with, what it refuses, and what an interruption leaves."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.models.snapshot import write_snapshot
from harden.training.checkpointing import run_checkpoints

Harden = Callable[..., Any]


@pytest.fixture
def words(npz: str) -> list[str]:
    """A run of some seconds that keeps every step."""
    words = ["run", "--data", npz, "--eps", "1/10", "--budget", "6epochs", "--finetune", "madry"]
    return [*words, "--steps", "3", "--restarts", "1", "--batch-size", "32", "--checkpoint-every", "0"]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted(command: str, environment: dict[str, str], words: list[str], out: Path, how: int) -> Any:
    """Start a run, wait for its first snapshot, and send it a signal."""
    process = subprocess.Popen(
        [command, *words, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while process.poll() is None and not (out / "progress" / "state.safetensors").exists():
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate()
    return process.returncode, said


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.once),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.once),
    ],
    ids=str,
)
def test_an_interrupted_run_goes_on_and_ends_as_undisturbed(
    command: str,
    environment: dict[str, str],
    harden: Harden,
    words: list[str],
    tmp_path: Path,
    how: int,
    code: int,
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    returned, said = interrupted(command, environment, words, out, how)
    assert returned == code
    if how != signal.SIGKILL:
        assert said.count("\n") == 1
        assert said.startswith("harden: terminated" if how == signal.SIGTERM else "harden: interrupted")
        assert f"{out}/progress" in said
        assert "--resume" in said
    assert not (out / "certificate.json").exists()
    # Not by accident over what is there.
    refused = harden(*words, "--out", out)
    assert refused.code == 2
    assert "a run that did not end; expected" in refused.err
    other = harden(*words, "--seed", "1", "--out", out, "--resume")
    assert other.code == 2
    assert "seed 0, now 1" in other.err
    assert harden(*words, "--out", out, "--resume").code == 0
    assert harden(*words, "--out", whole).code == 0
    mine, theirs = listing(out), listing(whole)
    assert mine.keys() == theirs.keys()
    for name in ("model.onnx", "evidence.npz", "checkpoint/weights.safetensors", "checkpoint/model.json"):
        assert mine[name] == theirs[name]
    bits = [json.loads(one["certificate.json"])["predicate"]["bits"] for one in (mine, theirs)]
    assert bits[0] == bits[1]


def test_a_finished_run_is_told_again_and_left_as_it_is(
    harden: Harden, words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = harden(*words, "--out", out, "--resume")  # nothing there: it starts
    assert first.code == 0
    before = {path: (path.stat().st_mtime_ns, content) for path, content in _stamped(out)}
    again = harden(*words, "--out", out, "--resume", "--json", tmp_path / "again.json")
    assert again.code == 0
    assert "has ended before" in again.out
    assert {path: (path.stat().st_mtime_ns, content) for path, content in _stamped(out)} == before
    told = json.loads((tmp_path / "again.json").read_text())
    assert f"{100 * told['robust']['value']:.1f}" in again.out.partition("exported file")[2]
    for option, message in (
        (("--steps", "4"), "evaluation.steps 3, now 4"),
        (("--lr", "0.01"), "lr 0.15, now 0.01"),
    ):
        other = harden(*words, *option, "--out", out, "--resume")
        assert other.code == 2
        assert message in other.err
        assert "expected the same data, model and recipe to go on with" in other.err
    assert {path: (path.stat().st_mtime_ns, content) for path, content in _stamped(out)} == before


def _stamped(folder: Path) -> list[tuple[Path, bytes]]:
    return [(path, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_second_process_on_the_folder_is_refused(
    command: str, environment: dict[str, str], harden: Harden, words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [command, *words, "--out", str(out)], stdout=subprocess.DEVNULL, env=environment
    ) as first:
        while first.poll() is None and not (out / "progress" / "state.safetensors").exists():
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # it holds the folder and does not end meanwhile
        try:
            for words_of_second in ([*words, "--resume"], words):
                second = harden(*words_of_second, "--out", out)
                assert second.code == 2
                assert f"which another process ({first.pid}) is writing to; expected a folder" in second.err
        finally:
            first.send_signal(signal.SIGCONT)
        assert first.wait() == 0
    assert (out / "certificate.json").exists()


def test_a_disk_that_fills_up_says_what_is_kept_and_how_to_go_on(
    harden: Harden, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_snapshot(*arguments)

    monkeypatch.setattr(run_checkpoints, "write_snapshot", full)
    out = tmp_path / "out"
    answer = harden(*words, "--out", out)
    assert answer.code == 2
    assert answer.err == (
        f"harden: {out}: No space left on device; expected a disk with room; free some, and go on with "
        f"--resume: what was done is in {out}/progress\n"
    )
    monkeypatch.undo()
    assert harden(*words, "--out", out, "--resume").code == 0


@pytest.mark.parametrize("kept", [True, False], ids=["kept before", "nothing kept"])
@pytest.mark.parametrize("resume", [True, False], ids=["--resume", "anew"])
def test_an_interruption_while_loading_tells_of_what_this_run_can_go_on_with(
    harden: Harden,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
    resume: bool,
) -> None:
    state = tmp_path / "out" / "progress" / "state.safetensors"
    if kept:
        state.parent.mkdir(parents=True)
        state.touch()

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harden.cli.loading.prepare_run.load", interrupt)
    answer = harden(*words, "--out", tmp_path / "out", *(["--resume"] if resume else []))
    # Without --resume what is there is another run's.
    mine = f"what was done is in {state.parent}; go on with --resume"
    left = mine if kept and resume else "nothing half-written was left"
    assert (answer.code, answer.err) == (130, f"harden: interrupted; {left}\n")
    assert state.exists() == kept
