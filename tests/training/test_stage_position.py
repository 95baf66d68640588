"""The position in a stage: it begins at 0, counts, and comes back from what a snapshot keeps of it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import pytest

from harden.training.stage_position import StagePosition

NAMES = [field.name for field in fields(StagePosition)]


def test_a_stage_begins_at_the_beginning() -> None:
    assert {name: value for name, value in asdict(StagePosition()).items() if value} == {}


def test_it_has_what_a_stage_counts() -> None:
    assert {"step", "epoch", "taken", "before", "examples", "validated"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_number_is_its_own(name: str) -> None:
    position = StagePosition()
    setattr(position, name, getattr(position, name) + 3)
    assert {key: value for key, value in asdict(position).items() if value} == {name: 3}
    assert position != StagePosition()


def test_it_comes_back_from_json_as_it_was() -> None:
    kinds = {name: type(value) for name, value in asdict(StagePosition()).items()}
    numbers: dict[str, Any] = {name: kind(at + 1) for at, (name, kind) in enumerate(kinds.items())}
    position = StagePosition(**numbers)
    assert StagePosition(**json.loads(json.dumps(asdict(position)))) == position
    # Counts stay integers, by which batches are skipped.
    restored = StagePosition(**json.loads(json.dumps(asdict(position))))
    for name in ("step", "epoch", "taken", "before", "examples"):
        assert type(getattr(restored, name)) is int


def test_a_number_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="steps"):
        StagePosition(steps=1)  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(AttributeError):
        StagePosition().steps = 1  # type: ignore[attr-defined]


def test_two_stages_share_no_position() -> None:
    one, other = StagePosition(), StagePosition()
    one.step += 1
    assert other.step == 0
