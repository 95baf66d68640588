"""What to do about a batch that does not fit into memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER
from harden.cli.loading.prepare_run import Ready
from harden.cli.options.run_options import Choice
from harden.cli.output.console import say
from harden.errors import InputError
from harden.hardening import stages
from harden.models import float32_copy
from harden.training.checkpointing.run_checkpoints import PLAN_FILE, is_unfinished, read_plan
from harden.training.cost_probe import largest_fitting


def fitted(ready: Ready, progress: Path | None) -> Ready:
    """The same run with the largest batch that fits, or with that of the run it goes on with."""
    wanted = ready.batch_size
    size = _remembered(progress) or _largest(ready)
    if size != wanted:
        say(f"batch     {size} images at a time: {wanted} do not fit into memory")
    return replace(ready, batch_size=size)


def no_room(choice: Choice, ready: Ready) -> InputError:
    """Say which batch would fit, after memory ran out."""
    size = choice.batch_size
    largest = _largest(ready)
    if largest == size:
        return InputError(
            f"memory that ran out, though training has room for its {size} images at a time",
            "memory for the evaluation too",
            "write --auto-batch --resume, and the evaluation takes no more at a time than training",
        )
    return InputError(
        f"batches of {size} images, which do not fit into memory",
        f"a batch that fits: {largest} images do",
        f"write --batch-size {largest}, or --auto-batch to have it found",
    )


def _largest(ready: Ready) -> int:
    device = ready.options.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
    model = float32_copy(ready.model).to(device)
    plan = stages(ready.recipe, ready.options.budget)
    return largest_fitting(plan, model, ready.source(), ready.options.threat)


def _remembered(progress: Path | None) -> int | None:
    """The batch of the run that is gone on with: memory may have more room today, the run must not change."""
    if progress is None:
        return None
    # A run that has ended keeps its plan beside the weights.
    folder = progress if is_unfinished(progress) else progress.parent / CHECKPOINT_FOLDER
    if not (folder / PLAN_FILE).is_file():
        return None
    data = read_plan(folder / PLAN_FILE).get("data")
    size = data.get("batch_size") if isinstance(data, dict) else None
    return size if isinstance(size, int) and size > 0 else None
