"""Files that are there whole or not at all, also after a power cut: written beside, flushed, renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


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
