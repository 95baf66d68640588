"""Folder of an artefact: its files, checks before writing, and atomic publication."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.certificate import certificate_file, schema
from harden.errors import InputError
from harden.system.atomic_files import flush_folder
from harden.system.folder_lock import LOCK_FILE, locked
from harden.system.safe_folders import check_inner, make_folder, move, remove_tree, temporary_folder

PAGE_FILE = "report.html"
HISTORY_FILE = "history.jsonl"
CHECKPOINT_FOLDER = "checkpoint"
PROGRESS_FOLDER = "progress"
"""Folder in which a run that writes an artefact keeps its state for resumption."""

_STAGING = ".harden-export-"

ARTEFACT_FILES = frozenset(
    {
        schema.MODEL_FILE,
        schema.EVIDENCE_FILE,
        certificate_file.CERTIFICATE_FILE,
        PAGE_FILE,
        HISTORY_FILE,
        CHECKPOINT_FOLDER,
    }
)
OWN_FILES = ARTEFACT_FILES | {PROGRESS_FOLDER, LOCK_FILE}


def check_folder(folder: str | Path) -> Path:
    """Accept a folder for an artefact: missing, empty, or an artefact's to replace; nothing is written.

    Raises:
        InputError: it is a file, can't be written, contains other files, or a link in place of a run's
            progress.
    """
    path = Path(folder)
    if (path / PROGRESS_FOLDER).is_symlink():
        check_inner(path, PROGRESS_FOLDER)
    advice = "write another --out, or empty the folder"
    try:
        others = [entry.name for entry in path.iterdir() if not _is_own(entry.name)] if path.exists() else []
        there = next(place for place in (path, *path.absolute().parents) if place.exists())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "a folder that can be written", advice) from None
    if others:
        raise InputError(f"{path} holds {sorted(others)[:3]}", "an empty folder or an artefact", advice)
    reason = "Not a directory" if not there.is_dir() else "Permission denied"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{path}: {reason}", "a folder that can be written", advice)
    return path


def prepare_folder(folder: str | Path) -> Path:
    """Accept a folder as `check_folder` does, and make it where it is missing.

    Raises:
        InputError: as `check_folder`.
    """
    path = check_folder(folder)
    try:
        make_folder(path)
    except OSError as error:
        advice = "write another --out, or empty the folder"
        raise InputError(f"{path}: {error.strerror}", "a folder that can be written", advice) from None
    return path


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary folder inside an artefact's folder, on the same file system, for the next artefact."""
    sweep(folder)
    with temporary_folder(folder, _STAGING) as place:
        yield place


def publish(place: Path, folder: Path) -> None:
    """Move a complete artefact into its folder, and flush every name to the disk.

    An older one is moved out first, beginning with its certificate, with its checkpoint and history, which
    belong to another model. The new certificate is moved in last; then the progress of the run is removed. In
    between the folder is not an artefact; a run that was killed there can be resumed, and after an exception
    the older artefact is restored.
    """
    with temporary_folder(folder, _STAGING) as aside:
        done: list[tuple[Path, Path]] = []
        try:
            _move(folder, aside, done, first=True)
            _move(place, folder, done, first=False)
        except BaseException:
            for source, target in reversed(
                done
            ):  # the older certificate, which was moved first, is restored last
                move(target, source)
            raise
    _drop_progress(folder)


def _move(source: Path, target: Path, done: list[tuple[Path, Path]], *, first: bool) -> None:
    """Move an artefact's files, its certificate first or last, and note each in `done`."""
    names = [name for name in sorted(ARTEFACT_FILES) if os.path.lexists(source / name)]
    for name in sorted(names, key=lambda name: (name == certificate_file.CERTIFICATE_FILE) != first):
        if name == certificate_file.CERTIFICATE_FILE:
            flush_folder(target)
        move(source / name, target / name)
        done.append((source / name, target / name))
        if name == certificate_file.CERTIFICATE_FILE:
            flush_folder(source)
    flush_folder(target)


def _drop_progress(folder: Path) -> None:
    progress, gone = folder / PROGRESS_FOLDER, folder / f"{_STAGING}{PROGRESS_FOLDER}"
    if progress.is_symlink() or not progress.is_dir():
        return
    try:
        with locked(progress):
            # Renamed in one step: a part of a progress could not be resumed.
            remove_tree(gone)
            move(progress, gone)
    except InputError as error:
        logging.getLogger("harden").warning("%s stays: %s", progress, error.seen)
    remove_tree(gone)


def _is_own(name: str) -> bool:
    return name in OWN_FILES or _is_leftover(name)


def _is_leftover(name: str) -> bool:
    """Return whether an interrupted write left it: harden's temporary names begin with a dot."""
    return name.startswith(_STAGING) or any(name.startswith(f".{own}.") for own in OWN_FILES)


def sweep(folder: Path) -> None:
    """Remove temporary files of interrupted writes from an artefact's folder."""
    for path in folder.iterdir():
        if _is_leftover(path.name):
            remove_tree(path)
