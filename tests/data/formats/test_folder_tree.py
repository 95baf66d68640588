"""Listing of image files: hidden and foreign files are counted, links followed, cycles refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from harden.data import load
from harden.errors import InputError
from tests.data.formats.lay_folders import lay


def test_what_systems_leave_behind_is_passed_over_and_counted(tmp_path: Path) -> None:
    lay(tmp_path)
    picture = (tmp_path / "cat" / "0.png").read_bytes()
    for name in (
        ".ipynb_checkpoints/0-checkpoint.png",
        "cat/.thumbnails/0.png",
        "cat/@eaDir/0.png",
        "__MACOSX/cat/._0.png",
        "dog/._0.png",
        "dog/Thumbs.db",
        "dog/desktop.ini",
        ".DS_Store",
        "cat/labels.csv",
        "cat/readme.TXT",
        "cover.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    splits = load(f"folder:{tmp_path}")
    assert len(splits.train) + len(splits.test) == 12
    assert splits.train.classes == ("cat", "dog")
    assert splits.remarks[-1] == (
        "passed over: 8 hidden, 2 without an image's suffix (.csv 1, .txt 1), "
        "1 images in no folder of a class, 1 that are no regular files"
    )


def test_images_beside_the_classes_of_parts_are_counted(tmp_path: Path) -> None:
    lay(tmp_path, "train", "test")
    for place in (tmp_path, tmp_path / "train"):
        Image.new("RGB", (4, 5)).save(place / "stray.png")
    splits = load(f"folder:{tmp_path}")
    assert len(splits.train) == 12
    assert splits.remarks[-1] == "passed over: 2 images in no folder of a class"


def test_links_are_followed_and_those_to_nothing_are_refused(tmp_path: Path) -> None:
    lay(tmp_path / "store", classes=("a", "b"))
    root = tmp_path / "set"
    root.mkdir()
    (root / "cat").symlink_to(tmp_path / "store" / "a")
    (root / "dog").mkdir()
    (root / "dog" / "more").symlink_to(tmp_path / "store" / "b")
    splits = load(f"folder:{root}")
    assert len(splits.train) + len(splits.test) == 12
    (root / "dog" / "gone.png").symlink_to(tmp_path / "absent.png")
    with pytest.raises(InputError, match=r"gone\.png: a link to nothing.*git annex get"):
        load(f"folder:{root}")
    (root / "dog" / "gone.png").unlink()
    (root / "dog" / "loop").symlink_to(root)
    with pytest.raises(InputError, match="a link to a folder above"):
        load(f"folder:{root}")


def test_suffixes_in_any_case(tmp_path: Path) -> None:
    lay(tmp_path)
    for name in ("cat", "dog"):
        for k, suffix in enumerate((".JPG", ".Jpeg", ".PNG", ".TIF", ".Bmp")):
            Image.new("RGB", (4, 5)).save(tmp_path / name / f"x{k}{suffix}")
    splits = load(f"folder:{tmp_path}")
    assert len(splits.train) + len(splits.test) == 22


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path)

    def refused(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(InputError, match=r"Permission denied; expected a folder that can be listed"):
        load(f"folder:{tmp_path}")
