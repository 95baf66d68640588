"""Snapshots of a run on disk: written, found again, and refused under another plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harden.errors import InputError
from harden.models.snapshot import Snapshot
from harden.training.checkpointing.run_checkpoints import (
    LIVE_FILE,
    PLAN_FILE,
    SNAPSHOT_FILE,
    Checkpoints,
    CheckpointWriter,
    differing,
    is_unfinished,
    read_plan,
)

SNAPSHOT = Snapshot({"w": torch.arange(3.0)}, {"step": 4})


def test_a_run_is_found_again_with_its_last_snapshot(tmp_path: Path) -> None:
    place = tmp_path / "progress"
    writer = CheckpointWriter(Checkpoints(place, also={"suite": "short"}), {"seed": 1})
    assert writer.found is None
    assert is_unfinished(place)
    resumed = Checkpoints(place, resume=True, also={"suite": "short"})
    assert CheckpointWriter(resumed, {"seed": 1}).found is None
    writer.keep(SNAPSHOT)
    writer.begin_history(["a", "b"])
    writer.append_history("c")
    again = CheckpointWriter(resumed, {"seed": 1})
    assert again.found is not None
    assert torch.equal(again.found.tensors["w"], torch.arange(3.0))
    assert again.found.facts["step"] == 4
    assert (place / LIVE_FILE).read_text() == "a\nb\nc\n"
    again.discard()
    assert list(place.iterdir()) == []
    assert not is_unfinished(place)


def test_another_plan_or_none_is_refused(tmp_path: Path) -> None:
    CheckpointWriter(Checkpoints(tmp_path), {"seed": 1, "recipe": {"beta": 6.0}})
    with pytest.raises(InputError, match=r"write --resume"):
        CheckpointWriter(Checkpoints(tmp_path), {"seed": 1, "recipe": {"beta": 6.0}})
    with pytest.raises(InputError, match=r"recipe\.beta 6\.0, now 3\.0"):
        CheckpointWriter(Checkpoints(tmp_path, resume=True), {"seed": 1, "recipe": {"beta": 3.0}})
    (tmp_path / PLAN_FILE).write_text("[1]")
    with pytest.raises(InputError, match="damaged"):
        read_plan(tmp_path / PLAN_FILE)


def test_a_refused_run_is_withdrawn_unless_it_has_a_snapshot(tmp_path: Path) -> None:
    writer = CheckpointWriter(Checkpoints(tmp_path), {"seed": 1})
    writer.withdraw()
    assert not is_unfinished(tmp_path)
    writer = CheckpointWriter(Checkpoints(tmp_path), {"seed": 1})
    writer.keep(SNAPSHOT)
    writer.withdraw()
    assert (tmp_path / SNAPSHOT_FILE).exists()


def test_the_next_snapshot_is_due_after_the_given_time(tmp_path: Path) -> None:
    assert CheckpointWriter(Checkpoints(tmp_path / "a", every=0.0), {}).due()
    assert not CheckpointWriter(Checkpoints(tmp_path / "b", every=1e6), {}).due()
    with pytest.raises(InputError, match="write every=30"):
        Checkpoints(tmp_path, every=-1.0)


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": {"c": [1], "d": 2}}, {"a": 1, "b": {"c": [2], "d": 3}}, ["b.c", "b.d"]),
        ({"a": 1}, {}, ["a"]),
        ({}, {"a": {"b": 1}}, ["a"]),
    ],
)
def test_names_of_what_differs(one: dict[str, object], other: dict[str, object], names: list[str]) -> None:
    assert [name for name, _, _ in differing(one, other)] == names
