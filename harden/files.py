"""Files that are there whole or not at all, also after a power cut: written beside, flushed, renamed."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from harden.errors import InputError
from harden.limits import Limit

_POINTER: Final = b"version https://git-lfs.github.com/spec/"


def read_bytes(path: str | Path, most: Limit) -> bytes:
    """Read a regular file: no device, which may never end, and no pipe, which may never begin.

    Raises:
        InputError: it is larger than the limit, on the disk or as its size says.
        OSError: it can't be read, is no regular file, or grows while it is read.
    """
    # Without O_NONBLOCK a pipe that nobody writes to holds the process at open.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        size = _size_of(file.fileno())
        most.check(str(path), size)
        content = file.read(size + 1)
    if len(content) > size:  # as the files of /proc, which say 0
        raise OSError(errno.EINVAL, "it holds more than its size says")
    return content


def check_regular(path: str | Path) -> None:
    """Refuse what is no regular file, before a library opens it.

    Raises:
        OSError: it is none, or can't be looked at.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        _size_of(handle)
    finally:
        os.close(handle)


def _size_of(handle: int) -> int:
    found = os.fstat(handle)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "a device, pipe or socket, and no regular file")
    return found.st_size


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
