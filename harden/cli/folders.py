"""The folder that a command writes to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.artefact.folder import CHECKPOINT_FOLDER, PROGRESS_FOLDER, prepare_folder
from harden.locking import locked
from harden.training.checkpoints import PLAN_FILE, SNAPSHOT_FILE


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """The artefact's folder, held by this process; one that was made for nothing goes again."""
    missing = [place for place in (out, *out.parents) if not place.exists()]
    path = prepare_folder(out)
    try:
        with locked(path):
            try:
                yield path
            except BaseException:
                if not can_go_on(path / PROGRESS_FOLDER):
                    # A plan without a moment to go on from would only be in the way of the next run.
                    shutil.rmtree(path / PROGRESS_FOLDER, ignore_errors=True)
                raise
    finally:
        for place in missing:
            if place.exists() and not any(place.iterdir()):
                place.rmdir()


def holds_a_run(out: Path) -> bool:
    """Whether a run has ended in this folder: its artefact is there, with the plan that it was made by."""
    return (out / CHECKPOINT_FOLDER / PLAN_FILE).exists()


def can_go_on(progress: Path) -> bool:
    """Whether a run has kept a moment to go on from."""
    return (progress / SNAPSHOT_FILE).exists()
