"""Folders are made, entered and removed without going through a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from harden.errors import InputError
from harden.system.safe_folders import check_inner, inner_folder, make_folder, move, remove_empty, remove_tree


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of the user's."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "letter").write_text("dear")
    return folder


def test_an_inner_folder_is_made_and_found_again(tmp_path: Path) -> None:
    made = inner_folder(tmp_path, ".github", "workflows")
    assert made == tmp_path / ".github" / "workflows"
    assert made.is_dir()
    assert check_inner(tmp_path, ".github", "workflows") == made
    assert check_inner(tmp_path, "missing", "below") == tmp_path / "missing" / "below"


@pytest.mark.parametrize("names", [("progress",), ("progress", "below"), ("above", "progress")])
def test_a_link_in_the_place_of_a_folder_is_refused(
    tmp_path: Path, elsewhere: Path, names: tuple[str, ...]
) -> None:
    (tmp_path / "above").mkdir()
    (tmp_path.joinpath(*names[: names.index("progress") + 1])).symlink_to(elsewhere)
    for use in (check_inner, inner_folder):
        with pytest.raises(InputError, match="a link"):
            use(tmp_path, *names)
    assert [path.name for path in elsewhere.iterdir()] == ["letter"]


def test_the_folder_that_the_user_names_may_be_a_link(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "out").symlink_to(elsewhere)
    assert inner_folder(tmp_path / "out", "progress").is_dir()


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("x")
    with pytest.raises(InputError, match="no folder"):
        inner_folder(tmp_path, "progress")


def test_what_links_lead_to_outlives_them(tmp_path: Path, elsewhere: Path) -> None:
    tree = tmp_path / "progress"
    make_folder(tree / "below")
    (tree / "below" / "link").symlink_to(elsewhere)
    (tree / "file").symlink_to(elsewhere / "letter")
    remove_tree(tree)
    assert not tree.exists()
    (tmp_path / "top").symlink_to(elsewhere)
    remove_tree(tmp_path / "top")
    assert not (tmp_path / "top").is_symlink()
    (tmp_path / "top").symlink_to(elsewhere)
    remove_empty(tmp_path / "top")
    move(tmp_path / "top", tmp_path / "moved")
    assert (tmp_path / "moved").is_symlink()
    assert (elsewhere / "letter").read_text() == "dear"


def test_a_folder_that_holds_something_is_not_empty(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    remove_empty(tmp_path / "a")
    assert (tmp_path / "a" / "b").is_dir()
    remove_empty(tmp_path / "a" / "b")
    remove_empty(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    remove_tree(tmp_path / "nothing")
