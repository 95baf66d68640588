"""Several processes: the first one writes; one that dies ends all; a run is resumed by any number of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from harden.errors import InputError
from harden.hardening.processes.run_progress import opened_progress
from harden.models.snapshot import Snapshot, read_snapshot
from harden.system.ranks import ALONE
from harden.training import Checkpoints
from harden.training.weights.weight_averaging import weights_of
from tests.hardening.processes.hardened_together import hardened
from tests.processes import ended, started
from tests.training.several.cases import apart


def run(folder: Path, size: int = 2, **options: Any) -> list[tuple[int, str, str]]:
    """Harden as several processes; the code, output and errors of each."""
    words = ["-m", "tests.hardening.processes.hardened_together", str(folder), json.dumps(options)]
    return ended(started(words, size))


@pytest.mark.slow
def test_a_killed_run_ends_clearly_and_is_resumed_by_two_and_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert [code for code, _, _ in run(tmp_path / "whole", name="weights")] == [0, 0]
    unbroken = read_snapshot(tmp_path / "whole" / "weights").tensors
    for folder in (tmp_path / "two", tmp_path / "one"):
        (code, _, said), (killed, _, nothing) = run(folder, name="weights", dies=1, after=17)
        assert (killed, nothing) == (-9, "")
        assert code == 2
        # One line, in three parts.
        assert said.startswith("LostProcessError: no answer of another of the 2 processes")
        assert "; expected processes that all run" in said
        assert "--resume" in said
        assert said.count("\n") == 1
        assert (folder / "progress" / "state.safetensors").exists()
        assert not (folder / "weights").exists()
    codes = run(tmp_path / "two", name="weights", resume=True)
    assert [code for code, _, _ in codes] == [0, 0]
    assert apart(read_snapshot(tmp_path / "two" / "weights").tensors, unbroken) == 0
    # Another number of processes adds in another order: the log says so.
    with caplog.at_level(logging.WARNING, logger="harden"):
        made, seen = hardened(tmp_path / "one", resume=True)
    assert "the last bits may differ" in caplog.text
    assert "'processes': 2" in caplog.text
    assert 0 < len(seen) < int(run_steps(codes))
    assert 0 < apart(weights_of(made.model), unbroken) < 1e-4


def run_steps(codes: list[tuple[int, str, str]]) -> str:
    """Steps that the first process reported; the other one reported none."""
    (_, said, _), (_, other, _) = codes
    assert other.split() == ["0", "False"]
    return str(100 + int(said.split()[0]))


@pytest.mark.slow  # the command's own form is quick, in tests/cli/test_several_processes.py
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"differs": 1}, "process 1 of 2, which differs from the first one in data."),
        ({"batch": 15}, "batches of 15 images for 2 processes"),
    ],
)
def test_what_processes_can_not_share_is_refused_before_anything_is_written(
    options: dict[str, int], said: str, tmp_path: Path
) -> None:
    for code, output, error in run(tmp_path / "run", name="weights", **options):
        assert (code, output) == (2, "")
        assert error.startswith(f"InputError: {said}")
        assert error.count(";") == 2
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_one_process_keeps_its_progress_as_ever(tmp_path: Path) -> None:
    with opened_progress(Checkpoints(tmp_path / "run"), {"seed": 1}, ALONE) as progress:
        assert progress.keeper is not None
        assert (dict(progress.plan), progress.found) == ({"seed": 1}, None)
        progress.keeper.keep(Snapshot(facts={"x": 1}))
    with (
        pytest.raises(InputError, match="did not end"),
        opened_progress(Checkpoints(tmp_path / "run"), {"seed": 1}, ALONE),
    ):
        pass
    with opened_progress(Checkpoints(tmp_path / "run", resume=True), {"seed": 1}, ALONE) as progress:
        assert progress.found is not None
        assert progress.found.facts == {"x": 1}
    with opened_progress(None, {"seed": 1}, ALONE) as progress:
        assert (progress.keeper, progress.found) == (None, None)


def test_a_refused_run_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError), opened_progress(Checkpoints(tmp_path / "run"), {"seed": 1}, ALONE):
        raise InputError("a", "b", "c")
    assert list((tmp_path / "run").glob("*.json")) == []
