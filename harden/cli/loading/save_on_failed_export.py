"""Trained weights of a run whose export fails: stored, with the command that exports them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Final

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, PROGRESS_FOLDER
from harden.cli.options.run_options import RunOptions
from harden.cli.output.console import say
from harden.errors import HardenError
from harden.hardening.model_spec import ModelSpec
from harden.models import Classifier
from harden.models.out_of_memory import ran_out_of_memory
from harden.training.checkpointing.weights_file import save_weights

_SHARED: Final = (
    "norm", "eps", "attacks", "steps", "restarts", "prove", "prove_minutes", "evaluate_minutes",
    "test_images", "seed",
)  # fmt: skip
"""Options that `harden export` has too."""


@contextmanager
def weights_kept(model: Classifier, *, origin: ModelSpec, options: RunOptions) -> Iterator[None]:
    """Store a trained model as a run's folder inside OUT/progress where the work inside the context fails.

    `harden export` takes that folder for its model, once the network's code or the data are corrected. An
    error of harden's names the command; any other is raised unchanged, and the command printed. Where memory
    or the disk ran out, `--resume` continues the run, and nothing is written.

    Args:
        model: trained.
        origin: the spec that builds its network again.
        options: of the run.
    """
    try:
        yield
    except HardenError as error:
        command = _kept(model, origin, options)
        raise type(error)(
            error.seen, error.expected, f"{error.instead}; the trained weights are kept, to export: {command}"
        ) from error
    except Exception as error:  # of whatever kind, the budget was spent
        if not ran_out_of_memory(error) and not isinstance(error, OSError):
            command = _kept(model, origin, options)
            say(f"the trained weights are kept, to export: {command}")
        raise


def _kept(model: Classifier, origin: ModelSpec, options: RunOptions) -> str:
    """Write weights and origin, and give the command that exports them."""
    folder = options.out / PROGRESS_FOLDER
    save_weights(model, folder / CHECKPOINT_FOLDER)
    origin.remember(folder)
    words = ("harden", "export", str(folder), "--data", options.data, *_options(options))
    return shlex.join((*words, "--out", str(_next_to(options.out))))


def _options(options: RunOptions) -> Iterator[str]:
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in _SHARED and value != field.default:
            yield from (f"--{field.name.replace('_', '-')}", str(value))


def _next_to(out: Path) -> Path:
    place = out if out.name else out.absolute()
    return place.with_name(f"{place.name}-exported")
