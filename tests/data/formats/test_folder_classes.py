"""Names of the classes of an image folder: Unicode forms, case, numbers, and a list of classes."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest
import torch

from harden.data import load
from harden.errors import InputError
from tests.data.formats.lay_folders import lay


def remarks(root: Path, **options: bool) -> str:
    return "; ".join(load(f"folder:{root}", **options).remarks)


def test_a_name_that_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    for name in ("a\nb", os.fsdecode(b"caf\xe9")):
        lay(tmp_path / str(len(name)), classes=(name, "tea"))
        with pytest.raises(InputError, match="Unicode names that can be printed"):
            load(f"folder:{tmp_path / str(len(name))}")


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


def test_a_single_folder_that_holds_the_set(tmp_path: Path) -> None:
    lay(tmp_path / "archive")
    with pytest.raises(InputError, match=r"1 folders.*write folder:.*archive"):
        load(f"folder:{tmp_path}")
