"""Creation and removal of folders that follows no link in the place of a folder."""

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
    """Create a folder and those above it, where they are missing, and flush their names to the disk."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        flush_folder(place.parent)


def check_inner(folder: Path, *names: str) -> Path:
    """Return the path of a folder inside another one, under names of harden's own; it may be missing.

    Args:
        folder: folder that the user named, possibly by a link.
        names: names of the folders below it, each inside the one before.

    Raises:
        InputError: one of the names is that of a link or a file, so that writes would go elsewhere.
    """
    place = folder
    for name in names:
        place /= name
        if os.path.lexists(place) and not stat.S_ISDIR(place.lstat().st_mode):
            what = "a link" if place.is_symlink() else "which is no folder"
            raise InputError(
                f"{place}, {what}", "a folder of harden's own", "remove it, or name another path"
            )
    return place


def inner_folder(folder: Path, *names: str) -> Path:
    """Return the folder of `check_inner`, created where it is missing."""
    place = check_inner(folder, *names)
    make_folder(place)
    return place


def remove_tree(path: Path) -> None:
    """Remove a folder with its content, as far as possible; of links the links alone."""
    if path.is_symlink() or not path.is_dir():
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return
        return
    shutil.rmtree(path, ignore_errors=True)


def remove_empty(path: Path) -> None:
    """Remove an empty folder; others and links are kept."""
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        path.rmdir()


def move(source: Path, target: Path) -> None:
    """Move a file or a folder atomically, within a file system; of a link the link itself."""
    source.replace(target)


@contextmanager
def temporary_folder(inside: Path | None = None, prefix: str = "harden-") -> Iterator[Path]:
    """Create a folder that is removed after the context, in the system's temporary folder or in another."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=inside) as name:
        yield Path(name)
