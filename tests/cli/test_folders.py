"""What a run or an export starts from is not written over: a kill on the way would leave neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.cli.folders import check_apart
from harden.cli.specs import ModelSpec
from harden.errors import InputError

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


def test_other_folders_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "small"):
        (tmp_path / name).mkdir()
    weights = tmp_path / "a.safetensors"
    weights.touch()
    check_apart(Path("b"), ModelSpec("a"))
    check_apart(Path("missing"), ModelSpec("a"))
    check_apart(Path("a"), ModelSpec("module:function", str(weights)))
    check_apart(Path("a"), ModelSpec("module:function", "missing/weights.safetensors"))
    check_apart(Path("small"), ModelSpec("small"))  # the built-in network, not a folder
    with pytest.raises(InputError, match="the same folder"):
        check_apart(Path("small"), ModelSpec("./small"))
