"""Atomic file writes that survive a power cut: to a temporary name, flushed and renamed.

All files are written through this module, `safe_folders` and `folder_lock`. A folder may have been prepared
by a stranger (a cloned repository, an unpacked archive), with a link, a pipe or a second name of another file
where harden writes under a name of its own. So nothing is written through a link, into a device or pipe, or
into a file that has another name too. Paths that the user wrote may name devices and pipes: `write_named`,
`append_named`.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from harden.errors import InputError
from harden.system.size_limits import SizeLimit

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
# Not through a link; without blocking on the other end of a pipe; not inherited by child processes.
_QUIET: Final = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
_GUARDED: Final = _QUIET | getattr(os, "O_NOFOLLOW", 0)
_STREAMS: Final = ("/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/")
_ALL: Final = 0o666
"""The permissions of a new file before the process's umask is applied."""


def read_bytes(path: str | Path, most: SizeLimit) -> bytes:
    """Read a regular file; devices and pipes, whose content may never end or never begin, are refused.

    Raises:
        InputError: it is larger than the limit.
        OSError: it can't be read, is no regular file, or grows while it is read.
    """
    # Without O_NONBLOCK a pipe without a writer blocks the process at open.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        size = _size_of(file.fileno())
        most.check(str(path), size)
        content = file.read(size + 1)
    if len(content) > size:  # as files of /proc, whose size is 0
        raise OSError(errno.EINVAL, "it holds more than its size")
    return content


def check_regular(path: str | Path) -> None:
    """Raise an error for anything but a regular file, before a library opens it.

    Raises:
        OSError: it is no regular file, or can't be opened.
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


def scratch(most: int) -> tempfile.SpooledTemporaryFile[bytes]:
    """Return a nameless file for this process alone: in memory up to `most` bytes, then on the disk."""
    return tempfile.SpooledTemporaryFile(max_size=most)


def refuse_pointer(content: bytes, path: Path) -> None:
    """Raise InputError for a Git LFS pointer, which a checkout without LFS has in place of a file.

    Args:
        content: content of the file, or its first bytes.
        path: path of the file.

    Raises:
        InputError: it is a pointer.
    """
    if content.startswith(_POINTER):
        raise InputError(
            f"{path}, a Git LFS pointer", "the file that it points to", "fetch it: run `git lfs pull`"
        )


def refuse_pointer_at(path: Path) -> None:
    """Call `refuse_pointer` for a file of unexpected content; an unreadable file is ignored.

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
    """Replace `path` by `content` atomically; after an interruption the old file or the new one exists.

    After the return, content and name survive a loss of power. A link with this name, or a second name of
    another file, is replaced; the other file is not changed.

    Raises:
        InputError: the name is that of a folder, a device or a pipe.
        OSError: it can't be written.
    """
    if os.path.lexists(path) and stat.S_IFMT(path.lstat().st_mode) not in (stat.S_IFREG, stat.S_IFLNK):
        raise _no_file(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _GUARDED, _ALL)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by `content`, in UTF-8, atomically."""
    write_bytes(path, content.encode())


def write_named(path: Path, content: str | bytes) -> None:
    """Write a file that the user named: as `write_bytes`, but a device or a pipe is written to directly.

    Examples are /dev/stdout, /dev/null and a named pipe. A link that is not the system's own is replaced.

    Raises:
        InputError: it is a folder.
        OSError: it can't be written.
    """
    data = content if isinstance(content, bytes) else content.encode()
    if not _is_stream(path):
        write_bytes(path, data)
        return
    with path.open("ab") as file:
        file.write(data)


def append_bytes(path: Path, content: bytes, *, flushed: bool = True) -> None:
    """Append to a file, which is created where it is missing.

    Args:
        path: path of the file.
        content: bytes to append.
        flushed: whether the content is flushed to the disk before the return.

    Raises:
        InputError: it is a link, no regular file, or has a second name.
        OSError: it can't be written.
    """
    with os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        file.write(content)
        file.flush()
        if flushed:
            os.fsync(file.fileno())


def append_named(path: Path, content: bytes) -> None:
    """Append to a file that the user, or the environment, named.

    Raises:
        InputError: it is a link, or has a second name.
        OSError: it can't be written.
    """
    if not _is_stream(path):
        append_bytes(path, content, flushed=False)
        return
    with path.open("ab") as file:
        file.write(content)


def shorten(path: Path, length: int) -> None:
    """Truncate a file to `length` bytes.

    Raises:
        InputError: as `append_bytes`.
        OSError: it can't be written.
    """
    handle = open_own(path, os.O_WRONLY)
    try:
        os.ftruncate(handle, length)
    finally:
        os.close(handle)


def remove_file(path: Path) -> None:
    """Remove a file where it exists; of a link the link itself."""
    path.unlink(missing_ok=True)


def open_own(path: Path, flags: int) -> int:
    """Open a file for changes in place: a regular file under its only name, not through a link.

    Returns:
        A file descriptor, which child processes don't inherit.

    Raises:
        InputError: it is no such file.
        OSError: it can't be opened.
    """
    if path.is_symlink():
        raise InputError(f"{path}, a link", "a file of harden's own", "remove the link")
    try:
        handle = os.open(path, flags | _GUARDED, _ALL)
    except OSError:
        # A pipe without a reader, or a missing device.
        if path.exists() and not path.is_file():
            raise _no_file(path) from None
        raise
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return handle
    os.close(handle)
    if not stat.S_ISREG(found.st_mode):
        raise _no_file(path)
    raise InputError(
        f"{path}, a file with {found.st_nlink} names (hard links)",
        "a file of harden's own",
        "remove this name: a write here would change the other file too",
    )


def flush_folder(folder: Path) -> None:
    """Flush a folder's names to the disk: a rename alone survives the process, not a loss of power."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # a folder without the right to read, or a system that opens no folders
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems lack it; the file itself is flushed
        pass
    finally:
        os.close(handle)


def _no_file(path: Path) -> InputError:
    what = "a folder" if path.is_dir() else "a device or a pipe"
    return InputError(f"{path}, {what}", "a file", "remove it, or name another path")


def _is_stream(path: Path) -> bool:
    """Return whether a path that the user wrote is a device, a pipe, or a link of the system."""
    if os.path.abspath(path).startswith(_STREAMS):
        return path.exists() and not path.is_dir()
    return os.path.lexists(path) and stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFCHR, stat.S_IFIFO)
