"""An artefact's folder: which files are its own, and whether a folder may become one."""

from __future__ import annotations

from pathlib import Path

from harden.certificate import document, schema
from harden.errors import InputError

PAGE_FILE = "report.html"
HISTORY_FILE = "history.jsonl"
CHECKPOINT_FOLDER = "checkpoint"

OWN_FILES = frozenset(
    {
        schema.MODEL_FILE,
        schema.EVIDENCE_FILE,
        document.CERTIFICATE_FILE,
        PAGE_FILE,
        HISTORY_FILE,
        CHECKPOINT_FOLDER,
    }
)


def prepare_folder(folder: str | Path) -> Path:
    """Create an artefact's folder, or accept one to replace.

    Raises:
        InputError: it is a file, can't be written, or holds things that are no artefact's.
    """
    path = Path(folder)
    advice = "write another --out, or empty the folder"
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in path.iterdir() if entry.name not in OWN_FILES]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "a folder that can be written", advice) from None
    if others:
        raise InputError(f"{path} holds {sorted(others)[:3]}", "an empty folder or an artefact", advice)
    return path
