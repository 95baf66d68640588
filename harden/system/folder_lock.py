"""Exclusive lock of a folder for one process, released by the system when the process ends."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.errors import HeldError, InputError
from harden.system.atomic_files import open_own, remove_file
from harden.system.safe_folders import make_folder, remove_empty

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]  # the module is missing there, which is tested below

LOCK_FILE = ".harden-lock"

_held: dict[Path, tuple[int, int]] = {}  # by folder: the open file, the thread
_UNGUARDED = -1
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """Create a folder where it is missing, and lock it; created folders left empty are removed afterwards.

    Raises:
        InputError: another process has locked the folder, or it can't be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        _make(folder)
        with locked(folder):
            yield folder
    finally:
        for place in made:  # the innermost first
            remove_empty(place)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock an existing folder inside the context; the same thread may lock it again.

    The lock is the kernel's (flock): it ends with the process, however that ends, and forked workers don't
    keep it. Where the file system has no locks the folder is not locked, and a warning is logged.

    Raises:
        InputError: another process or thread has locked the folder, it can't be written, or the lock's name
            is that of a link or of another file.
    """
    place = folder.resolve()
    if place in _held:
        if _held[place][1] != threading.get_ident():
            raise _locked_error(place, "another thread")
        yield
        return
    handle = _acquire(place)
    _held[place] = handle, threading.get_ident()
    try:
        yield
    finally:
        del _held[place]
        if handle != _UNGUARDED:
            # Removed before the release: a process that blocks on this file finds that it is no longer the
            # folder's.
            remove_file(place / LOCK_FILE)
            os.close(handle)


def _locked_error(place: Path, owner: str) -> HeldError:
    return HeldError(
        f"{place}, which {owner} is writing to",
        "a folder for each run",
        "run this again when it has ended, or name another folder",
    )


def _release_in_child() -> None:
    """Release all locks in a forked child, which may outlive the process."""
    for handle, _ in _held.values():
        if handle != _UNGUARDED:
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


def _make(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"{folder}: {error.strerror}", "a folder that can be written", "name another one")


def _acquire(place: Path) -> int:
    path = place / LOCK_FILE
    while True:
        try:
            handle = open_own(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise _unwritable(place, error) from None
        try:
            if not _take(handle, place):
                os.close(handle)
                remove_file(path)
                return _UNGUARDED
            if _is_current(handle, path):
                os.ftruncate(handle, 0)
                os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except InputError:
            os.close(handle)
            raise
        os.close(handle)


def _take(handle: int, place: Path) -> bool:
    """Lock an open file; return False where there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
        raise _locked_error(place, f"another process{f' ({owner})' if owner else ''}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logging.getLogger("harden").warning("%s is on a file system without locks", place)
        return False
    return True


def _is_current(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
