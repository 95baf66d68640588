"""Files that are there whole or not at all, also after a power cut: written beside, flushed, renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from harden.errors import InputError

_POINTER: Final = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(content: bytes, path: Path) -> None:
    """Refuse a Git LFS pointer, the few lines that a checkout without LFS has in place of a file.

    Args:
        content: of the file, its first bytes or all of it.
        path: of the file.

    Raises:
        InputError: it is one.
    """
    if content.startswith(_POINTER):
        raise InputError(
            f"{path}, a Git LFS pointer", "the file that it points to", "fetch it: run `git lfs pull`"
        )


def refuse_pointer_at(path: Path) -> None:
    """As `refuse_pointer`, of a file that can't be read as what it should be; nothing where it can't at all.

    Raises:
        InputError: it is a pointer.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError:
        return
    refuse_pointer(start, path)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; after an interruption the old file or the new one is there.

    Once it has returned, a loss of power takes neither the content nor the name. What is no regular file, a
    device or a pipe, is written to instead.
    """
    if path.exists() and not path.is_file():
        # A device or a pipe is written to, not replaced: /dev/stdout, /dev/null.
        path.write_bytes(content)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by `content`, in UTF-8, in one step."""
    write_bytes(path, content.encode())


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing, and bring their names to the disk."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        flush_folder(place.parent)


def flush_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: a rename alone survives the process, not a loss of power."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # a folder that may be written and not read, or a system that opens no folders
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems know no such thing; the file itself is flushed
        pass
    finally:
        os.close(handle)
