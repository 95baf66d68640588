"""Checks of the folder that a run or an export writes to, and its lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, PROGRESS_FOLDER, prepare_folder
from harden.certificate.certificate_file import CERTIFICATE_FILE
from harden.certificate.schema import MODEL_FILE
from harden.errors import InputError
from harden.system.folder_lock import locked
from harden.system.safe_folders import remove_empty, remove_tree
from harden.training.checkpointing.run_checkpoints import PLAN_FILE, SNAPSHOT_FILE


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """Create and lock the artefact's folder; created folders that stay empty are removed."""
    missing = [place for place in (out, *out.parents) if not place.exists()]
    path = prepare_folder(out)
    try:
        with locked(path):
            try:
                yield path
            except BaseException:
                if not can_go_on(path / PROGRESS_FOLDER):
                    # A plan without a stored state would only be in the way of the next run.
                    remove_tree(path / PROGRESS_FOLDER)
                raise
    finally:
        for place in missing:
            remove_empty(place)


def check_replaceable(out: Path, force: bool) -> None:
    """Refuse to replace an artefact without --force: it may be the deployed one, and have taken a night.

    Raises:
        InputError: the folder holds a certificate or an ONNX file, and `force` is False.
    """
    there = [name for name in (CERTIFICATE_FILE, MODEL_FILE) if os.path.lexists(out / name)]
    if there and not force:
        raise InputError(
            f"{out}, which holds a finished artefact ({' and '.join(there)})",
            "a folder without one",
            "write another --out, or --force to replace it",
        )


def check_apart(out: Path, *sources: str | Path | None) -> None:
    """Refuse to write over the inputs of a run: its older artefact is removed before the new one is complete.

    If the process were killed in between, neither would be left; and a run that has ended could not be
    repeated, for the weights it began with would be gone.

    Args:
        out: the folder to write to.
        *sources: the folder of the model, and the file of its weights; None, and what does not exist, is
            accepted.

    Raises:
        InputError: one of them is `out` or lies in it.
    """
    for source in (Path(each) for each in sources if each is not None):
        if not source.exists() or not out.exists():
            continue
        place = source.resolve()
        if any(each.samefile(out) for each in (place, *place.parents)):
            where = "the same folder" if source.samefile(out) else "which is in it"
            raise InputError(
                f"--out {out} and the model of {source}, {where}",
                "a folder of its own for what is written",
                "write another --out",
            )


def holds_a_run(out: Path) -> bool:
    """Whether a run has ended in this folder: it holds an artefact with the plan of its run."""
    return (out / CHECKPOINT_FOLDER / PLAN_FILE).exists()


def can_go_on(progress: Path) -> bool:
    """Whether a run has stored a state to resume from."""
    return (progress / SNAPSHOT_FILE).exists()
