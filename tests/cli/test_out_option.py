"""What a run or an export starts from is not written over: a kill on the way would leave neither."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harden = Callable[..., Any]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("way", ["itself", "relative", "a link to it", "out is a link to it"])
@pytest.mark.parametrize(
    "words", [("run", "--model"), ("run", "--dry-run", "--model"), ("export",)], ids=" ".join
)
def test_the_models_own_folder_as_out_is_refused_before_anything_is_loaded(
    harden: Harden,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    way: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    model, out = {
        "itself": (folder, folder),
        "relative": (folder, Path("x") / ".." / folder.name),
        "a link to it": (link, folder),
        "out is a link to it": (folder, link),
    }[way]
    (tmp_path / "x").mkdir()
    before = listing(folder)
    answer = harden(*words, model, "--data", "npz:there-are-none.npz", "--out", out)
    assert (answer.code, answer.err) == (
        2,
        f"harden: --out {out} and the model of {model}, the same folder; "
        "expected a folder of its own for what is written; write another --out\n",
    )
    assert listing(folder) == before


@pytest.mark.parametrize("words", [("run", "--model", "small"), ("export", "small")], ids=" ".join)
def test_weights_that_out_holds_are_refused(harden: Harden, folder: Path, words: tuple[str, ...]) -> None:
    weights, before = folder / "checkpoint" / "weights.safetensors", listing(folder)
    answer = harden(*words, "--weights", weights, "--data", "npz:there-are-none.npz", "--out", folder)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"--out {folder} and the model of {weights}, which is in it; expected" in answer.err
    assert listing(folder) == before


# What is finished is not replaced unasked


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--data", "npz:there-are-none.npz"),
        ("run", "--data", "npz:there-are-none.npz", "--dry-run"),
        ("export", "small", "--data", "npz:there-are-none.npz"),
        ("demo",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("left", [("certificate.json",), ("model.onnx",), ("certificate.json", "model.onnx")])
def test_a_finished_artefact_is_not_replaced_unasked(
    harden: Harden, tmp_path: Path, words: tuple[str, ...], left: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in left:
        (out / name).write_bytes(b"of last night")
    before = listing(out)
    answer = harden(*words, "--out", out)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"harden: {out}, which holds a finished artefact ({' and '.join(left)}); ")
    assert "--force" in answer.err
    assert answer.err.count("\n") == 1
    assert listing(out) == before


def test_a_run_again_is_refused_told_or_replaced_as_is_asked(
    harden: Harden, run_words: list[str], folder: Path
) -> None:
    before = listing(folder)
    again = harden(*run_words, "--out", folder)
    assert again.code == 2
    assert "or --resume to have its result printed again" in again.err
    told = harden(*run_words, "--out", folder, "--resume")
    assert (told.code, told.err) == (0, "")
    assert "this run has ended before" in told.out
    assert listing(folder) == before
    both = harden(*run_words, "--out", folder, "--resume", "--force")
    assert (both.code, "--force with --resume" in both.err) == (2, True)
    replaced = harden(*run_words, "--out", folder, "--force")
    assert (replaced.code, replaced.err) == (0, "")
    assert listing(folder)["certificate.json"] != before["certificate.json"]


# One process at a time


@pytest.mark.parametrize("name", ["run", "export", "demo", "report", "evaluate", "certify"])
def test_a_folder_that_another_process_writes_to_is_refused(
    harden: Harden, run_words: list[str], npz: str, finished: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if name == "report":
        (out / "certificate.json").write_bytes((finished / "certificate.json").read_bytes())
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = listing(out)
        answer = harden(
            *{
                "run": [*run_words, "--out", out],
                "export": ["export", "small", "--data", npz, "--eps", "1/10", "--out", out],
                "demo": ["demo", "--out", out],
                "report": ["report", out],
                "evaluate": ["evaluate", "small", "--data", npz, "--journal", out],
                "certify": ["certify", finished / "model.onnx", "--data", npz, "--journal", out],
            }[name]
        )
        assert answer.code == 2
        assert f"which another process ({holder.pid}) is writing to" in answer.err
        assert answer.err.count("\n") == 1
        assert listing(out) == before
    finally:
        holder.communicate("done\n", timeout=30)


HOLD = """
import sys
from pathlib import Path
from harden.system.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""
