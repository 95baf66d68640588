"""Folders as they lie on disks: remarks on the files that are read, refusals of doubtful ones."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harden.data import load
from harden.data.formats.image_files import ImageHeader, read_header
from harden.errors import InputError


def lay(root: Path, *parts: str, classes: tuple[str, ...] = ("cat", "dog"), n: int = 6) -> Path:
    """Folders of n unlike images for each class of each part."""
    random = np.random.default_rng(len(parts))
    for part in parts or ("",):
        for name in classes:
            folder = root / part / name
            folder.mkdir(parents=True)
            for k in range(n):
                Image.fromarray(random.integers(0, 256, (5, 4, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    return root


def remarks(root: Path, **options: bool) -> str:
    return "; ".join(load(f"folder:{root}", **options).remarks)


def test_parts_of_other_names_are_read(tmp_path: Path) -> None:
    splits = load(f"folder:{lay(tmp_path, 'Train', 'VAL')}")
    assert splits.train.classes == ("cat", "dog")
    assert (len(splits.train), len(splits.test)) == (12, 12)
    assert splits.remarks == ("3x5x4 (C, H, W), uint8 pixels from 0 to 255", "'VAL' is the test part")


def test_parts_are_named_after_the_set_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate's title is the test part's name: "val" alone would say nothing."""
    root = lay(tmp_path / "birds", "train", "val")
    splits = load(f"folder:{root}")
    assert (splits.name, splits.train.name, splits.test.name) == ("birds", "birds train", "birds val")
    monkeypatch.chdir(root)
    assert load("folder:.").test.name == "birds val"
    assert load("folder:val").train.name == "val"


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


def test_a_name_that_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    for name in ("a\nb", os.fsdecode(b"caf\xe9")):
        lay(tmp_path / str(len(name)), classes=(name, "tea"))
        with pytest.raises(InputError, match="Unicode names that can be printed"):
            load(f"folder:{tmp_path / str(len(name))}")


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


def test_a_class_without_images(tmp_path: Path) -> None:
    lay(tmp_path, "train", "test")
    (tmp_path / "train" / "owl").mkdir()
    with pytest.raises(InputError, match=r"owl: no image files; .*lay files out"):
        load(f"folder:{tmp_path}")
    (tmp_path / "train" / "owl" / "scan.dcm").touch()
    with pytest.raises(InputError, match=r"owl: no image files, only \.dcm.*convert"):
        load(f"folder:{tmp_path}")


def test_a_class_that_the_test_part_lacks_keeps_its_number_and_is_said(tmp_path: Path) -> None:
    lay(tmp_path, "train", classes=("ant", "cat", "dog"))
    lay(tmp_path, "test", classes=("ant", "dog"))
    (tmp_path / "test" / "cat").mkdir()
    splits = load(f"folder:{tmp_path}")
    assert splits.test.classes == ("ant", "cat", "dog")
    assert torch.bincount(splits.test.y).tolist() == [6, 0, 6]
    assert "no test images of cat" in splits.remarks


def test_names_in_two_forms_of_unicode_are_one_class(tmp_path: Path) -> None:
    lay(tmp_path, "train", classes=("caf\u00e9", "tea"))
    lay(tmp_path, "test", classes=("cafe\u0301", "tea"))
    splits = load(f"folder:{tmp_path}")
    assert splits.test.classes == ("caf\u00e9", "tea")
    assert torch.bincount(splits.test.y).tolist() == [6, 6]
    lay(tmp_path / "train" / "..", "train", classes=("cafe\u0301",))
    with pytest.raises(InputError, match="two folders named"):
        load(f"folder:{tmp_path}")


def test_names_that_differ_in_case(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path / "one", classes=("A", "a"))
    with caplog.at_level(logging.WARNING, "harden"):
        assert load(f"folder:{tmp_path / 'one'}").train.classes == ("A", "a")
    assert "'A' and 'a' are two classes" in caplog.text
    lay(tmp_path / "two", "train", classes=("Cat", "Dog"))
    lay(tmp_path / "two", "test", classes=("cat", "Dog"))
    with pytest.raises(InputError, match=r"test has classes cat, which train lacks.*rename .*cat to Cat"):
        load(f"folder:{tmp_path / 'two'}")


def test_numbers_are_sorted_as_text_and_that_is_said(tmp_path: Path) -> None:
    lay(tmp_path, classes=tuple(str(k) for k in range(11)), n=2)
    assert "classes are in the order of their names as text: 0, 1, 10, 2, ..." in remarks(tmp_path)
    (tmp_path / "classes.txt").write_text("".join(f"{k}\n" for k in range(11)))
    splits = load(f"folder:{tmp_path}")
    assert splits.train.classes == tuple(str(k) for k in range(11))
    assert "classes as in classes.txt" in splits.remarks


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"cat\nowl\n", "has classes dog, which classes.txt lacks"),
        (b"cat\ndog\ncat\n", "'cat' twice"),
        (b"\xff\xfe\xfa", "unreadable"),
        (b"cat\ndog\nowl\n", "no folder owl"),
    ],
)
def test_a_list_of_classes_has_to_fit(tmp_path: Path, content: bytes, says: str) -> None:
    lay(tmp_path)
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(says)):
        load(f"folder:{tmp_path}")


def test_a_test_part_alone_is_enough_where_nothing_is_trained(tmp_path: Path) -> None:
    lay(tmp_path, "test", classes=("cat", "dog"))
    with pytest.raises(InputError, match=r"holds 'test' and no 'train'.*to split it"):
        load(f"folder:{tmp_path}")
    splits = load(f"folder:{tmp_path}", needs_train=False)
    assert splits.is_test_alone
    assert len(splits.test) == 12
    (tmp_path / "classes.txt").write_text("ant\ncat\ndog\nowl\n")
    splits = load(f"folder:{tmp_path}", needs_train=False)
    assert splits.test.classes == ("ant", "cat", "dog", "owl")
    assert sorted(set(splits.test.y.tolist())) == [1, 2]


def test_subfolders_that_may_be_the_classes_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lay(tmp_path, "fold1", "fold2")
    with caplog.at_level(logging.WARNING, "harden"), pytest.raises(InputError):
        load(f"folder:{tmp_path}/absent")
    load(f"folder:{tmp_path}")
    assert "fold1, fold2 are read as classes and their subfolders cat, dog as groups" in caplog.text
    assert "groups are the subfolders of the classes" in remarks(tmp_path)


def test_a_single_folder_that_holds_the_set(tmp_path: Path) -> None:
    lay(tmp_path / "archive")
    with pytest.raises(InputError, match=r"1 folders.*write folder:.*archive"):
        load(f"folder:{tmp_path}")


def test_a_folder_that_goes_away_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path)

    def going(file: Path, seen: Counter[str]) -> ImageHeader:
        header = read_header(file, seen)
        if file.name == "5.png":
            file.unlink()
        return header

    monkeypatch.setattr("harden.data.formats.image_folder.read_header", going)
    with pytest.raises(InputError, match=r"5\.png: no regular file"):
        load(f"folder:{tmp_path}")


def test_small_files_that_unpack_to_much_are_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.new("RGB", (3000, 2000), (k, k, k)).save(tmp_path / name / f"{k}.png")
    monkeypatch.setattr("harden.data.formats.image_folder.UNPACKED", 10**8)
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(InputError, match=r"6 image files of [\d,]+ bytes that would unpack to 108,000,000"):
        load(f"folder:{tmp_path}")


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path)

    def refused(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(InputError, match=r"Permission denied; expected a folder that can be listed"):
        load(f"folder:{tmp_path}")
