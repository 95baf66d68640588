"""Folders that a stranger has prepared: links and pipes where harden writes under names of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from harden.artefact.classifier_to_onnx import trace
from harden.evaluation.results.evaluation_journal import PLAN_FILE
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.system.folder_lock import LOCK_FILE
from tests.cli.conftest import Harden

KEYS = "ssh-ed25519 AAAA the user's own\n"
ATTACK = ("--eps", "1/16", "--attacks", "pgd", "--steps", "20", "--restarts", "1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The user's own folder, with a file that must outlive everything below."""
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "authorized_keys").write_text(KEYS)
    return folder


@pytest.fixture
def cloned(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cloned repository, which is the working folder."""
    folder = tmp_path / "cloned"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = small_cnn(in_channels=1, num_classes=10)
    (folder / "model.onnx").write_bytes(trace(Classifier(network), (1, 8, 8)).SerializeToString())
    return folder


def untouched(home: Path) -> bool:
    return [path.name for path in home.iterdir()] == ["authorized_keys"] and (
        home / "authorized_keys"
    ).read_text() == KEYS


@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_a_planted_lock_costs_an_update_of_the_baseline_and_no_key(
    cloned: Path, home: Path, npz: str, harden: Harden, kind: str
) -> None:
    if kind == "link":
        (cloned / LOCK_FILE).symlink_to("../.ssh/authorized_keys")
    else:
        (cloned / LOCK_FILE).hardlink_to(home / "authorized_keys")
    answer = harden("baseline", "update", "model.onnx", "--data", npz, *ATTACK)
    assert answer.code == 2
    assert LOCK_FILE in answer.err
    assert answer.err.count("\n") == 1
    assert untouched(home)
    assert not (cloned / "robustness-baseline.json").exists()


def test_a_baseline_that_is_a_link_is_replaced(cloned: Path, home: Path, npz: str, harden: Harden) -> None:
    kept = home.parent / "kept.json"
    first = harden("baseline", "update", "model.onnx", "--data", npz, *ATTACK, "--baseline", kept)
    assert first.code == 0, first.err
    before = kept.read_bytes()
    (cloned / "robustness-baseline.json").symlink_to(kept)
    answer = harden("baseline", "update", "model.onnx", "--data", npz, *ATTACK, "--label", "other")
    assert answer.code == 0, answer.err
    assert kept.read_bytes() == before
    assert not (cloned / "robustness-baseline.json").is_symlink()


@pytest.mark.parametrize("name", ["progress", LOCK_FILE])
def test_a_run_writes_through_no_link(
    cloned: Path, home: Path, run_words: list[str], harden: Harden, name: str
) -> None:
    out = cloned / "out"
    out.mkdir()
    (out / name).symlink_to(home if name == "progress" else home / "authorized_keys")
    answer = harden(*run_words, "--out", "out")
    assert answer.code == 2
    assert f"out/{name}, a link" in answer.err
    assert untouched(home)


def test_a_run_replaces_the_links_of_an_artefact(
    cloned: Path, home: Path, run_words: list[str], harden: Harden
) -> None:
    out = cloned / "out"
    out.mkdir()
    for name in ("report.html", "model.onnx", "certificate.json", "evidence.npz", "history.jsonl"):
        (out / name).symlink_to(home / "authorized_keys")
    (out / "checkpoint").symlink_to(home)
    os.mkfifo(out / ".report.html.0")
    answer = harden(*run_words, "--out", "out", "--force")
    assert answer.code in (0, 1), answer.err
    assert untouched(home)
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert harden("verify", "out").code == 0


def test_a_page_is_written_over_a_link_and_not_into_a_pipe(folder: Path, home: Path, harden: Harden) -> None:
    page = folder / "report.html"
    page.unlink()
    page.symlink_to(home / "authorized_keys")
    assert harden("report", folder).code == 0
    assert untouched(home)
    page.unlink()
    os.mkfifo(page)
    answer = harden("report", folder)
    assert answer.code == 2
    assert "a device or a pipe" in answer.err


@pytest.mark.parametrize("name", ["certificate.json", "model.onnx", "evidence.npz"])
def test_a_pipe_in_an_artefact_keeps_nobody_waiting(folder: Path, harden: Harden, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert harden("verify", folder).code in (1, 2)
    if name == "certificate.json":
        assert harden("report", folder).code == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, kind) for name in ("proofs.jsonl", "attack") for kind in ("link", "pipe")),
        ("proofs.jsonl", "hard link"),
        (PLAN_FILE, "pipe"),
    ],
)
def test_a_journal_is_written_through_no_link(
    cloned: Path, home: Path, npz: str, harden: Harden, name: str, kind: str
) -> None:
    place = cloned / "journal" / name
    place.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(home if name == "attack" else home / "authorized_keys")
    else:
        place.hardlink_to(home / "authorized_keys")
    few = ("--data", npz, "--test-images", 4, "--eps", "1/50", "--journal", "journal")
    if name == PLAN_FILE:
        answer = harden("evaluate", "model.onnx", *few, "--steps", 1, "--restarts", 1)
    else:
        answer = harden(
            "certify", "model.onnx", *few, "--attacks", "pgd", "--method", "ibp", "--radius-steps", 0
        )
    assert answer.code == 2, answer.err
    assert answer.err.count("\n") == 1
    assert untouched(home)


def test_a_repository_is_set_up_through_no_link(cloned: Path, home: Path, harden: Harden) -> None:
    (cloned / ".github").symlink_to(home)
    answer = harden("init", ".", "--force")
    assert answer.code == 2
    assert ".github, a link" in answer.err
    assert untouched(home)
    assert [path.name for path in cloned.iterdir() if path.name.startswith(("harden", "tests"))] == []
    (cloned / ".github").unlink()
    (cloned / "harden.toml").symlink_to(home / "authorized_keys")
    assert harden("init", ".").code == 2
    assert harden("init", ".", "--force").code == 0
    assert untouched(home)


def test_what_is_removed_of_a_refused_run_is_not_what_a_link_leads_to(
    finished: Path, tmp_path: Path, home: Path, run_words: list[str], harden: Harden
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    (out / ".harden-export-left").symlink_to(home)
    (out / ".model.onnx.left").symlink_to(home / "authorized_keys")
    assert harden(*run_words, "--out", out, "--force").code in (0, 1)
    assert untouched(home)
    assert not any(path.name.startswith(".") for path in out.iterdir())


@pytest.mark.parametrize("words", [("verify",), ("report", "--out")])
def test_json_and_pages_replace_a_link(
    folder: Path, home: Path, harden: Harden, words: tuple[str, ...]
) -> None:
    target = home.parent / "answer"
    target.symlink_to(home / "authorized_keys")
    option = words[1] if len(words) > 1 else "--json"
    answer = harden(words[0], folder, option, target)
    assert untouched(home)
    if words[0] == "report":  # what it leads to is no page, and is not replaced unasked
        assert answer.code == 2
    else:
        assert answer.code == 0
        assert not target.is_symlink()
