"""Parts are recognised by name and structure; a class may have a part's name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from harden.data.formats.folder_parts import parts_of
from harden.errors import InputError


def lay(root: Path, files: Iterable[str]) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.touch()
        else:
            path.mkdir(exist_ok=True)
    return root


def classes(*parts: str) -> list[str]:
    return [f"{part}/{name}/0.png" for part in parts for name in ("cat", "dog")]


def chosen(root: Path) -> tuple[str | None, str | None]:
    found = parts_of(root)
    return (found.train.name if found.train else None, found.test.name if found.test else None)


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING", "trainset", "train2017", "seg_train"])
@pytest.mark.parametrize("test", ["test", "Testing", "val", "VALID", "validation", "dev", "test-data"])
def test_parts_by_name_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    assert chosen(lay(tmp_path, classes(train, test))) == (train, test)


def test_of_three_parts_the_test_part_is_taken_and_the_other_said(tmp_path: Path) -> None:
    found = parts_of(lay(tmp_path, [*classes("train", "val", "test"), "docs/a.txt", "Unlabeled/0.png"]))
    assert found.test is not None
    assert found.unlabelled is not None
    assert (found.test.name, found.unlabelled.name) == ("test", "Unlabeled")
    assert found.remarks == (
        "'val' passed over: validation images are held out from the training part",
        "docs passed over: no part",
    )


def test_a_validation_part_in_the_place_of_the_test_part_is_said(tmp_path: Path) -> None:
    assert parts_of(lay(tmp_path, classes("train", "val"))).remarks == ("'val' is the test part",)


@pytest.mark.parametrize(
    ("files", "remark"),
    [
        (["train/0.png", "plane/0.png", "bus/0.png"], "'train' is read as a class, as bus, plane are"),
        (["valid/0.png", "invalid/0.png"], "'valid' is read as a class, as invalid are"),
        (["train/a/0.png", "plane/b/0.png"], "'train' is read as a class, as plane are"),
        (["bullet_train/0.png", "test_bench/0.png"], None),
        (classes("fold1", "fold2"), None),
    ],
)
def test_names_of_parts_that_are_classes(tmp_path: Path, files: list[str], remark: str | None) -> None:
    found = parts_of(lay(tmp_path, files))
    assert (found.train, found.test) == (None, None)
    assert found.remarks == ((remark,) if remark else ())


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (classes("train"), r"holds 'train' and no 'test'.*folder:.*train"),
        ([*classes("train"), "labels/a.txt"], "holds 'train' and no 'test'"),
        (classes("train", "other"), "no 'test'.*rename other to test"),
        ([*classes("train"), "plane/0.png"], "move the images of train out of its folders"),
        (classes("test", "other"), "holds 'test' and no 'train'"),
        (classes("train", "Train", "test"), "'Train' and 'train'.*one folder for a training part"),
        (classes("train", "val", "dev"), "'dev' and 'val'.*one folder for a test part"),
        (["train/0.png", "test/0.png"], "train holds images and no folders of classes"),
        ([*classes("train"), "test/0.png"], "test holds images and no folders of classes"),
        ([*classes("train"), "test"], "test holds no folders of classes"),
        (["unlabelled/0.png", "Unlabeled/0.png"], "images without labels"),
        (
            classes("images/train", "images/val", "labels/train"),
            r"images holds 'train' and 'val'.*folder:.*images",
        ),
        (classes("cat/train", "cat/test", "dog/train", "dog/test"), "parts above the classes"),
    ],
)
def test_what_is_missing_or_doubtful_is_refused(tmp_path: Path, files: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        parts_of(lay(tmp_path, files))


def test_a_stray_image_beside_the_classes_makes_no_class_of_a_part(tmp_path: Path) -> None:
    assert chosen(lay(tmp_path, [*classes("train", "test"), "train/stray.png"])) == ("train", "test")


def test_a_test_part_alone(tmp_path: Path) -> None:
    assert chosen(lay(tmp_path, classes("test"))) == (None, "test")
