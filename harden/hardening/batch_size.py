"""The batch size of a run, where a batch does not fit into memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER
from harden.errors import InputError
from harden.hardening.recipes.recipe import stages
from harden.hardening.run_inputs import RunInputs
from harden.models import float32_copy
from harden.training.checkpointing.run_checkpoints import PLAN_FILE, is_unfinished, read_plan
from harden.training.cost_probe import largest_fitting


def with_fitting_batch(run: RunInputs, progress: Path | None) -> RunInputs:
    """The same run with the largest batch that fits, or with the batch of the run that it continues.

    Args:
        run: whose batch size is the largest one to try.
        progress: the progress folder of the run that is continued, or None.
    """
    return replace(run, batch_size=_stored_size(progress) or _largest(run))


def out_of_memory(run: RunInputs, requested: int) -> InputError:
    """The error for a run that ran out of memory: it names a batch that fits."""
    largest = _largest(run)
    if largest == requested:
        return InputError(
            f"memory that ran out, though training has room for its {largest} images at a time",
            "memory for the evaluation too",
            "write --auto-batch --resume, and the evaluation takes no more at a time than training",
        )
    return InputError(
        f"batches of {requested} images, which do not fit into memory",
        f"a batch that fits: {largest} images do",
        f"write --batch-size {largest}, or --auto-batch to have it found",
    )


def _largest(run: RunInputs) -> int:
    settings = run.settings
    if settings.device.type == "cuda":
        torch.cuda.empty_cache()
    model = float32_copy(run.model).to(settings.device)
    return largest_fitting(stages(run.recipe, settings.budget), model, run.source(), settings.threat)


def _stored_size(progress: Path | None) -> int | None:
    """The batch size of the run that is continued: the run must not change with the memory of today."""
    if progress is None:
        return None
    # A run that has ended keeps its plan with the weights.
    folder = progress if is_unfinished(progress) else progress.parent / CHECKPOINT_FOLDER
    if not (folder / PLAN_FILE).is_file():
        return None
    data = read_plan(folder / PLAN_FILE).get("data")
    size = data.get("batch_size") if isinstance(data, dict) else None
    return size if isinstance(size, int) and size > 0 else None
