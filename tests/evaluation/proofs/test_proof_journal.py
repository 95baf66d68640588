"""The journal of a search for proofs: read back, and refused where it was changed or is of something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from harden.errors import InputError
from harden.evaluation.proofs.proof_journal import ProofJournal


def kept_again(path: Path) -> ProofJournal:
    return ProofJournal(path, {"eps": "1/10"})


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ('{"plan": {"eps": "1/20"}}\n', "another method"),
        ('{"plan": {"eps": "1/10"}}\n{"level": 8, "ids": [0], "proved": [true]}\n', "another version"),
        ("text\n", "journal of a search"),
        ("[" * 100_000 + "\n", "journal of a search"),
        ("[1]\n", "journal of a search"),
    ],
)
def test_a_journal_of_something_else_is_refused(content: str, seen: str, tmp_path: Path) -> None:
    path = tmp_path / "proofs.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=seen):
        ProofJournal(path, {"eps": "1/10"})
    assert path.read_text() == content


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal in which images 0 and 1 were tried, and image 0 was proved; then image 2 was."""
    path = tmp_path / "proofs.jsonl"
    kept = kept_again(path)
    kept.write(8, torch.tensor([0, 1]), torch.tensor([True, False]))
    kept.write(8, torch.tensor([2]), torch.tensor([True]))
    assert kept_again(path).read(8, torch.tensor([0, 1, 2, 3])) == [True, False, True]
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[true, false]", b"[true, true ]"),
        (b'"ids": [2]', b'"ids": [5]'),
        (b'"level": 8', b'"level": 9'),
        (b'"eps": "1/10"', b'"eps": "1/1" '),
    ],
)
def test_a_journal_that_was_changed_is_not_believed(old: bytes, new: bytes, journal: Path) -> None:
    content = journal.read_bytes()
    assert old in content
    journal.write_bytes(content.replace(old, new, 1))
    with pytest.raises(InputError, match=r"differs from its checksum|another file"):
        kept_again(journal)


@pytest.mark.parametrize("order", [(0, 2), (0, 2, 1), (0, 1, 1, 2), (1, 2)])
def test_lines_that_are_missing_or_moved_are_not_believed(order: tuple[int, ...], journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[at] for at in order))
    with pytest.raises(InputError, match=r"differs from its checksum|another file"):
        kept_again(journal)


def test_a_journal_does_not_outlive_a_change_of_the_bounds(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harden.evaluation.proofs.proof_journal.code_digest", lambda parts: "0" * 64)
    with pytest.raises(InputError, match="another version of harden's bounds"):
        kept_again(journal)


def test_a_journal_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "proofs.jsonl")
    with pytest.raises(InputError, match="no regular file"):
        kept_again(tmp_path / "proofs.jsonl")
