"""Folders as they lie on disks: remarks on the files that are read, refusals of doubtful ones."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harden.data import load
from harden.data.formats.image_files import ImageHeader, read_header
from harden.errors import InputError
from tests.data.formats.lay_folders import lay


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


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def images(root: Path, per_class: int = 6, mode: str = "RGB", size: tuple[int, int] = (5, 4)) -> None:
    random = np.random.default_rng(per_class)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for k in range(per_class):
            pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{k}.png")


def test_folder_with_both_parts(tmp_path: Path) -> None:
    images(tmp_path / "train", 6)
    images(tmp_path / "test", 3)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    splits = load(f"folder:{tmp_path}")
    assert (len(splits.train), len(splits.test)) == (12, 6)
    assert splits.train.classes == ("cat", "dog")
    assert splits.train.image_shape == (3, 4, 5)
    first = np.asarray(Image.open(tmp_path / "train" / "cat" / "0.png"))
    assert torch.equal(splits.train.x[0], torch.from_numpy(first.transpose(2, 0, 1).copy()))


def test_folder_is_split_by_a_third(tmp_path: Path) -> None:
    images(tmp_path, 9, "L")
    splits = load(f"folder:{tmp_path}")
    assert (len(splits.train), len(splits.test)) == (12, 6)
    assert splits.train.image_shape == (1, 4, 5)
    assert splits.test.y.bincount().tolist() == [3, 3]


def test_folder_mixes_grey_and_colour_and_keeps_sixteen_bits(tmp_path: Path) -> None:
    images(tmp_path / "mixed")
    Image.new("L", (5, 4), 77).save(tmp_path / "mixed" / "cat" / "9.png")
    mixed = load(f"folder:{tmp_path / 'mixed'}").train
    assert mixed.image_shape == (3, 4, 5)
    for name in ("cat", "dog"):
        (tmp_path / "deep" / name).mkdir(parents=True)
        for k in range(3):
            deep = np.full((4, 5), 300 + k, dtype=np.uint16)
            Image.fromarray(deep).save(tmp_path / "deep" / name / f"{k}.png")
    assert load(f"folder:{tmp_path / 'deep'}").train.x.dtype == torch.uint16


def spoil(root: Path, how: str) -> None:
    file = root / "dog" / "3.png"
    if how == "size":
        Image.new("RGB", (7, 7)).save(file)
    elif how == "truncated":
        cut(file, 0.6)
    elif how == "text":
        file.write_text("no image")
    elif how == "transparent":
        Image.new("RGBA", (5, 4), (1, 2, 3, 100)).save(file)
    elif how == "deep":
        Image.fromarray(np.zeros((4, 5), dtype=np.uint16)).save(file)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("size", r"3\.png: 7x7 pixels where the first image has 5x4.*resize"),
        ("truncated", r"3\.png: unreadable"),
        ("text", r"3\.png: unreadable"),
        ("transparent", "transparent"),
        ("deep", "uint16 pixels among uint8"),
    ],
)
def test_folder_names_the_file_that_is_wrong(tmp_path: Path, how: str, says: str) -> None:
    images(tmp_path)
    spoil(tmp_path, how)
    with pytest.raises(InputError, match=says):
        load(f"folder:{tmp_path}")


def test_folder_that_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load(f"folder:{tmp_path / 'absent'}")
    with pytest.raises(InputError, match="0 folders"):
        load(f"folder:{tmp_path}")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no image files"):
        load(f"folder:{tmp_path}")


def test_folder_whose_test_part_has_other_classes(tmp_path: Path) -> None:
    images(tmp_path / "train")
    images(tmp_path / "test")
    (tmp_path / "test" / "owl").mkdir()
    with pytest.raises(InputError, match="test has classes owl"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("kind", ["<f4", "<i4"])
def test_folder_refuses_pixels_that_a_conversion_would_cut(tmp_path: Path, kind: str) -> None:
    """Pillow cuts float and 32-bit pixels to 0..255 on the way to RGB: a scan in [0, 1] would be black."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for k in range(3):
            deep = np.full((4, 5), 0.5 if kind == "<f4" else 60_000, dtype=kind)
            Image.fromarray(deep).save(tmp_path / name / f"{k}.tif")
    with pytest.raises(InputError, match="Pillow's mode"):
        load(f"folder:{tmp_path}")
