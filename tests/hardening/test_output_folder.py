"""The folder that a run writes to: made, locked, cleared on failure, and no input of the run."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.hardening.model_spec import ModelSpec
from harden.hardening.output_folder import (
    can_go_on,
    check_apart,
    check_replaceable,
    holds_a_run,
    output_folder,
)


class Stop(BaseException):
    """An interruption."""


def places(spec: ModelSpec) -> tuple[Path | None, str | None]:
    return spec.folder, spec.weights


def test_other_folders_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "small"):
        (tmp_path / name).mkdir()
    weights = tmp_path / "a.safetensors"
    weights.touch()
    check_apart(Path("b"), *places(ModelSpec("a")))
    check_apart(Path("missing"), *places(ModelSpec("a")))
    check_apart(Path("a"), *places(ModelSpec("module:function", str(weights))))
    check_apart(Path("a"), *places(ModelSpec("module:function", "missing/weights.safetensors")))
    check_apart(Path("small"), *places(ModelSpec("small")))  # the built-in network, not a folder
    with pytest.raises(InputError, match="the same folder"):
        check_apart(Path("small"), *places(ModelSpec("./small")))


def test_weights_in_the_folder_and_links_to_it_are_seen_through(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint" / "weights").touch()
    (tmp_path / "link").symlink_to(out, target_is_directory=True)
    check_apart(out, None, tmp_path)  # a folder above is another one
    for place in (out, tmp_path / "link"):
        with pytest.raises(InputError, match="which is in it"):
            check_apart(place, None, tmp_path / "link" / "checkpoint" / "weights")
        with pytest.raises(InputError, match="the same folder"):
            check_apart(place, tmp_path / "link")


@pytest.mark.parametrize("name", ["certificate.json", "model.onnx"])
@pytest.mark.parametrize("dangling", [False, True], ids=["file", "dangling link"])
def test_an_artefact_is_replaced_on_request_alone(tmp_path: Path, name: str, dangling: bool) -> None:
    check_replaceable(tmp_path, force=False)
    check_replaceable(tmp_path / "missing", force=False)
    if dangling:
        (tmp_path / name).symlink_to(tmp_path / "gone")
    else:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"a finished artefact \\({name}\\)") as caught:
        check_replaceable(tmp_path, force=False)
    assert "--force to replace it" in caught.value.instead
    check_replaceable(tmp_path, force=True)


def test_folders_that_stay_empty_are_removed_again(tmp_path: Path) -> None:
    with contextlib.suppress(Stop), output_folder(tmp_path / "a" / "b" / "out") as out:
        assert out.is_dir()
        raise Stop
    assert list(tmp_path.iterdir()) == []
    with output_folder(tmp_path / "a" / "out") as out:
        (out / "model.onnx").touch()
    assert (tmp_path / "a" / "out" / "model.onnx").exists()


@pytest.mark.parametrize("state", [False, True], ids=["a plan alone", "a stored state"])
def test_progress_is_kept_where_a_run_can_resume_from_it(tmp_path: Path, state: bool) -> None:
    progress = tmp_path / "out" / "progress"
    with contextlib.suppress(Stop), output_folder(tmp_path / "out"):
        progress.mkdir()
        (progress / "plan.json").write_text("{}")
        if state:
            (progress / "state.safetensors").touch()
        raise Stop
    assert progress.exists() == can_go_on(progress) == state


def test_the_folder_of_an_ended_run_is_known_by_its_plan(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    assert not holds_a_run(tmp_path)
    (tmp_path / "checkpoint" / "plan.json").write_text("{}")
    assert holds_a_run(tmp_path)


def test_a_folder_that_another_process_writes_to_is_refused_and_left_alone(tmp_path: Path) -> None:
    hold = (
        "import sys, pathlib\nfrom harden.system.folder_lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    words = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"another process \\({other.pid}\\)"), output_folder(tmp_path):
            raise AssertionError("two processes in one folder")
        other.communicate(timeout=60)
    with output_folder(tmp_path) as out:
        assert out == tmp_path
