"""Snapshots come back as they were, or are refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from harden.errors import InputError
from harden.models.snapshot import Snapshot, digest_of, read_snapshot, write_snapshot

TENSORS: dict[str, Tensor] = {
    "state.weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "state.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "state.count": torch.tensor(7),
    "state.empty": torch.zeros(0, 2),
    "state.image": torch.rand(1, 3, 2, 2).contiguous(memory_format=torch.channels_last),
}
FACTS: dict[str, Any] = {"at": {"step": 3, "progress": 0.1 + 0.2}, "best": [True, 0.5, 1 / 3], "other": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "snapshot.safetensors"
    write_snapshot(Snapshot(TENSORS, FACTS), place)
    return place


def test_it_comes_back_bit_for_bit(path: Path) -> None:
    read = read_snapshot(path)
    assert read.facts == FACTS
    assert read.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert read.tensors[name].dtype == value.dtype
        assert torch.equal(read.tensors[name], value)


def test_the_same_content_is_the_same_file(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_snapshot(Snapshot(dict(reversed(TENSORS.items())), FACTS), other)
    assert read_snapshot(other).facts == read_snapshot(path).facts
    assert digest_of(read_snapshot(other).tensors) == digest_of(TENSORS)


def test_tensors_that_share_memory_are_written_each(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    write_snapshot(Snapshot({"a": base, "b": base[2:], "c": base}), tmp_path / "shared")
    read = read_snapshot(tmp_path / "shared").tensors
    assert torch.equal(read["b"], base[2:])
    assert torch.equal(read["c"], base)


def test_every_flipped_bit_is_found(path: Path) -> None:
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(400):
        place = chance.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="; expected a snapshot that harden wrote, whole; remove the"):
            read_snapshot(path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -1])
def test_what_is_cut_off_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match="; expected a snapshot that harden wrote, whole; "):
        read_snapshot(path)


def test_weights_of_others_and_missing_files_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    for name in ("plain.safetensors", "missing"):
        with pytest.raises(InputError, match="a snapshot that harden wrote, whole"):
            read_snapshot(tmp_path / name)
    (tmp_path / "pickle").write_bytes(b"\x80\x04\x95")
    with pytest.raises(InputError, match="a snapshot that harden wrote, whole"):
        read_snapshot(tmp_path / "pickle")


@given(st.sampled_from(sorted(TENSORS)), st.integers(0, 100))
def test_the_digest_sees_names_types_shapes_and_content(name: str, seed: int) -> None:
    value = TENSORS[name]
    known = digest_of(TENSORS)
    changed = [{**TENSORS, name: value.double()}, {**TENSORS, name: value.unsqueeze(0)}]
    changed += [{key: part for key, part in TENSORS.items() if key != name}, {**TENSORS, "more": value}]
    if value.numel():
        other = value.clone(memory_format=torch.contiguous_format)
        other.view(-1)[seed % value.numel()] += 1
        changed.append({**TENSORS, name: other})
    assert all(digest_of(tensors) != known for tensors in changed)
    assert digest_of({key: part.clone() for key, part in reversed(TENSORS.items())}) == known
