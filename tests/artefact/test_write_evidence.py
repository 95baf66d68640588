"""evidence.npz holds every witness, and its record describes the arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harden.artefact.write_evidence import write_evidence
from harden.evaluation import Witnesses


@pytest.mark.parametrize("count", [0, 3])
def test_arrays_are_stored_as_they_are_described(tmp_path: Path, count: int) -> None:
    original = torch.rand(count, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    witness = (original + 0.1).clamp(0, 1)
    index, label = torch.arange(count) * 5, torch.arange(count) % 2
    record = write_evidence(tmp_path / "evidence.npz", Witnesses(index, label, label + 1, original, witness))
    assert record.witnesses == count
    with np.load(tmp_path / "evidence.npz", allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}
    assert set(found) == {"index", "label", "original", "witness"} == set(record.arrays)
    for name, expected in (("index", index), ("label", label), ("original", original), ("witness", witness)):
        np.testing.assert_array_equal(found[name], expected.numpy())
        assert (str(found[name].dtype), found[name].shape) == (
            record.arrays[name].dtype,
            record.arrays[name].shape,
        )
    assert {name: each.dtype for name, each in record.arrays.items()} == {
        "index": "int64",
        "label": "int64",
        "original": "float32",
        "witness": "float32",
    }


def test_the_same_witnesses_are_the_same_bytes(tmp_path: Path) -> None:
    """A certificate has the file's digest, so that nothing in it may depend on the time."""
    one = torch.zeros(2, 1, 2, 2)
    for name in ("a.npz", "b.npz"):
        write_evidence(
            tmp_path / name, Witnesses(torch.arange(2), torch.arange(2), torch.ones(2), one, one + 1)
        )
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
