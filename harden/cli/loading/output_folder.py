"""The folder that a command writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, PROGRESS_FOLDER, prepare_folder
from harden.certificate.certificate_file import CERTIFICATE_FILE
from harden.certificate.schema import MODEL_FILE
from harden.cli.loading.model_spec import ModelSpec
from harden.errors import InputError
from harden.system.folder_lock import locked
from harden.system.safe_folders import remove_empty, remove_tree
from harden.training.checkpointing.run_checkpoints import PLAN_FILE, SNAPSHOT_FILE


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
                    remove_tree(path / PROGRESS_FOLDER)
                raise
    finally:
        for place in missing:
            remove_empty(place)


def check_replaceable(out: Path, force: bool) -> None:
    """Refuse to replace an artefact unasked: it may be the one that is deployed, and cost a night.

    Raises:
        InputError: the folder holds a certificate or an ONNX file, and nobody said --force.
    """
    there = [name for name in (CERTIFICATE_FILE, MODEL_FILE) if os.path.lexists(out / name)]
    if there and not force:
        raise InputError(
            f"{out}, which holds a finished artefact ({' and '.join(there)})",
            "a folder without one",
            "write another --out, or --force to replace it",
        )


def check_apart(out: Path, spec: ModelSpec) -> None:
    """Refuse to write over what is started from: its older artefact goes before the new one is whole.

    A kill in between would leave neither, and a run that has ended could not be told again: it began with
    weights that are no longer there.

    Raises:
        InputError: the model's folder, or the file of its weights, is `out` or in it.
    """
    weights = None if spec.weights is None else Path(spec.weights)
    for source in (spec.folder, weights):
        if source is None or not source.exists() or not out.exists():
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
    """Whether a run has ended in this folder: its artefact is there, with the plan that it was made by."""
    return (out / CHECKPOINT_FOLDER / PLAN_FILE).exists()


def can_go_on(progress: Path) -> bool:
    """Whether a run has kept a moment to go on from."""
    return (progress / SNAPSHOT_FILE).exists()
