"""An artefact's folder: which files are its own, and whether a folder may become one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.certificate import document, schema
from harden.errors import InputError
from harden.files import flush_folder
from harden.locking import LOCK_FILE

PAGE_FILE = "report.html"
HISTORY_FILE = "history.jsonl"
CHECKPOINT_FOLDER = "checkpoint"
PROGRESS_FOLDER = "progress"
"""Where a run that writes to an artefact's folder keeps what it needs to go on."""

_STAGING = ".harden-export-"

OWN_FILES = frozenset(
    {
        schema.MODEL_FILE,
        schema.EVIDENCE_FILE,
        document.CERTIFICATE_FILE,
        PAGE_FILE,
        HISTORY_FILE,
        CHECKPOINT_FOLDER,
        PROGRESS_FOLDER,
        LOCK_FILE,
    }
)


def check_folder(folder: str | Path) -> Path:
    """Accept a folder for an artefact: missing, empty, or an artefact's to replace; nothing is written.

    Raises:
        InputError: it is a file, can't be written, or holds things that are no artefact's.
    """
    path = Path(folder)
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
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = "write another --out, or empty the folder"
        raise InputError(f"{path}: {error.strerror}", "a folder that can be written", advice) from None
    return path


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder inside an artefact's own, so on the same file system, to make the next one in; then gone."""
    sweep(folder)
    with tempfile.TemporaryDirectory(prefix=_STAGING, dir=folder) as name:
        yield Path(name)


def publish(place: Path, folder: Path) -> None:
    """Move a complete artefact into its folder, and bring every name to the disk.

    An older one goes, its certificate first, checkpoint and history with it: they would belong to another
    model. The new certificate comes last, and after it the progress of the run goes, which is not needed any
    more. At every moment in between the folder is no artefact, and a run that was killed there can go on.
    """
    (folder / document.CERTIFICATE_FILE).unlink(missing_ok=True)
    (folder / HISTORY_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINT_FOLDER, ignore_errors=True)
    flush_folder(folder)
    made = sorted(place.iterdir(), key=lambda path: path.name == document.CERTIFICATE_FILE)
    for path in made:
        if path.name == document.CERTIFICATE_FILE:
            flush_folder(folder)
        path.replace(folder / path.name)
    flush_folder(folder)
    progress, gone = folder / PROGRESS_FOLDER, folder / f"{_STAGING}{PROGRESS_FOLDER}"
    if progress.is_dir():
        # In one step out of sight: half a progress could not be gone on with.
        shutil.rmtree(gone, ignore_errors=True)
        progress.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _is_own(name: str) -> bool:
    return name in OWN_FILES or _is_leftover(name)


def _is_leftover(name: str) -> bool:
    """Whether an interrupted write left it: harden's files are written beside, under a name with a dot."""
    return name.startswith(_STAGING) or any(name.startswith(f".{own}.") for own in OWN_FILES)


def sweep(folder: Path) -> None:
    """Remove what interrupted writes have left in an artefact's folder."""
    for path in folder.iterdir():
        if _is_leftover(path.name):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
