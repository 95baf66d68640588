from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harden.artefact.artefact_folder import OWN_FILES, prepare_folder, publish, staging
from harden.errors import InputError


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_missing_folders_are_made_and_own_files_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert prepare_folder(str(folder)) == folder
    assert folder.is_dir()
    for name in OWN_FILES:
        (folder / name).write_text("x")
    before = listing(folder)
    assert prepare_folder(folder) == folder
    assert listing(folder) == before


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "model.onnx").write_text("another model")
    before = listing(tmp_path)
    with pytest.raises(InputError, match=r"thesis\.tex.*; expected an empty folder or an artefact; write"):
        prepare_folder(tmp_path)
    assert listing(tmp_path) == before


def test_a_file_in_the_way_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("a file")
    for wanted in (path, path / "below"):
        with pytest.raises(InputError, match=r"expected a folder that can be written; write another --out"):
            prepare_folder(wanted)
    assert path.read_text() == "a file"


def test_a_place_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InputError, match="a folder that can be written"):
        prepare_folder("/proc/harden-artefact")


def test_an_existing_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Permissions do not bind root, under whom tests may run: the system's answer is replaced.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="Permission denied; expected a folder that can be written"):
        prepare_folder(tmp_path)


def test_leftovers_of_a_killed_export_do_not_count_and_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".harden-export-abc").mkdir()
    (tmp_path / ".harden-export-abc" / "model.onnx").write_text("half")
    (tmp_path / ".certificate.json.xyz.part").write_text("half")
    (tmp_path / ".report.html.xyz").write_text("half")
    prepare_folder(tmp_path)
    with staging(tmp_path) as place:
        assert [path.name for path in tmp_path.iterdir()] == [place.name]
    assert list(tmp_path.iterdir()) == []


def test_hidden_files_of_others_are_not_leftovers(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(InputError, match=r"\.git"):
        prepare_folder(tmp_path)
    assert (tmp_path / ".git").is_dir()


def test_publishing_replaces_everything_and_the_certificate_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("certificate.json", "evidence.npz", "model.onnx", "report.html")
    for name in (*names, "history.jsonl", "checkpoint/weights.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    moves: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        leaves = self.parent == tmp_path and not moves  # the older certificate, before anything else
        certified = (tmp_path / "certificate.json").exists()
        assert certified == leaves, "certified while a file was still to come"
        moves.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    with staging(tmp_path) as place:
        for name in names:
            (place / name).write_text("new")
        assert listing(tmp_path)["certificate.json"] == b"old"
        publish(place, tmp_path)
    assert moves[0] == moves[-1] == "certificate.json"
    assert listing(tmp_path) == dict.fromkeys(names, b"new")


@pytest.mark.parametrize("failing", range(1, 10))
def test_where_a_move_fails_the_older_artefact_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    names = ("certificate.json", "evidence.npz", "model.onnx", "report.html")
    for name in (*names, "history.jsonl", "checkpoint/weights.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    before = listing(tmp_path)
    replace, calls = Path.replace, 0

    def full(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"), staging(tmp_path) as place:  # noqa: PT012  # one step fails
        for name in names:
            (place / name).write_text("new")
        publish(place, tmp_path)
    assert listing(tmp_path) == before


def test_the_progress_of_another_process_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "plan.json").write_text("{}")
    code = (
        "import sys, time, pathlib\nfrom harden.system.folder_lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "progress")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with staging(tmp_path) as place:
            (place / "certificate.json").write_text("new")
            publish(place, tmp_path)
        assert (tmp_path / "progress" / "plan.json").exists()
        other.kill()
    with staging(tmp_path) as place:
        (place / "certificate.json").write_text("new")
        publish(place, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["certificate.json"]


def test_staging_goes_also_when_its_body_raises(tmp_path: Path) -> None:
    def failing() -> None:
        with staging(tmp_path) as place:
            (place / "model.onnx").write_text("x")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        failing()
    assert list(tmp_path.iterdir()) == []
