"""Files that are there whole or not at all: written beside, flushed to disk, renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; after an interruption the old file or the new one is there.

    What is no regular file, a device or a pipe, is written to instead.
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


def write_text(path: Path, content: str) -> None:
    """Replace `path` by `content`, in UTF-8, in one step."""
    write_bytes(path, content.encode())
