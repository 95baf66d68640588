"""Folders: made, looked at and removed without going through a link that stands in the place of one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.errors import InputError
from harden.system.atomic_files import flush_folder


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing, and bring their names to the disk."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        flush_folder(place.parent)


def check_inner(folder: Path, *names: str) -> Path:
    """The place of a folder inside another one, under names of harden's own; it may be missing.

    Args:
        folder: which the user named; that may be by a link.
        names: of the folders below it, each inside the one before.

    Raises:
        InputError: a link or a file stands there: what is written below would be written elsewhere.
    """
    place = folder
    for name in names:
        place /= name
        if os.path.lexists(place) and not stat.S_ISDIR(place.lstat().st_mode):
            what = "a link" if place.is_symlink() else "which is no folder"
            raise InputError(
                f"{place}, {what}", "a folder of harden's own", "remove it, or name another place"
            )
    return place


def inner_folder(folder: Path, *names: str) -> Path:
    """As `check_inner`, and make it where it is missing."""
    place = check_inner(folder, *names)
    make_folder(place)
    return place


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, as far as that is possible; of links the links alone."""
    if path.is_symlink() or not path.is_dir():
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return
        return
    shutil.rmtree(path, ignore_errors=True)


def remove_empty(path: Path) -> None:
    """Remove a folder in which nothing is; one that holds something stays, and so does a link."""
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        path.rmdir()


def move(source: Path, target: Path) -> None:
    """Move a file or a folder in one step, within a file system; a link is moved, not what it leads to."""
    source.replace(target)


@contextmanager
def temporary_folder(inside: Path | None = None, prefix: str = "harden-") -> Iterator[Path]:
    """A folder that is gone after the context: in the system's place for such, or inside another one."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=inside) as name:
        yield Path(name)
