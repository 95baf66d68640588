"""A program that hardens a small network as one of several processes; one may die, or see other data."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from harden.errors import HardenError
from harden.hardening import Recipe, harden
from harden.models.snapshot import Snapshot, write_snapshot
from harden.objectives import AdversarialTraining, SimCLR
from harden.system.ranks import joined
from harden.training import SGD, Checkpoints
from harden.training.weights.weight_averaging import weights_of
from harden.training.weights.weight_update import WeightUpdate
from harden.views import Views
from tests.training.several.cases import ATTACK, THREAT, images, network

VIEWS = Views(crop=(0.6, 1.0), shift=1)
RECIPE = Recipe(
    AdversarialTraining(ATTACK, views=VIEWS),
    pretrain=SimCLR(views=VIEWS, hidden=16, width=8),
    pretrain_share=0.3,
    optimiser=SGD(0.02),
    pretrain_optimiser=SGD(0.02),
)


def hardened(folder: Path, *, resume: bool = False, seed: int = 0, batch: int = 16) -> Any:
    """Harden on 96 images, with a checkpoint after each step."""
    seen: list[int] = []
    checkpoints = Checkpoints(folder / "progress", resume=resume, every=0)
    made = harden(
        network(),
        images(96, batch, seed),
        threat=THREAT,
        recipe=RECIPE,
        budget="14E",
        exportable=False,
        checkpoints=checkpoints,
        on_step=lambda record: seen.append(record.step),
    )
    return made, seen


def dying(after: int) -> None:
    """Let this process be killed in the step after so many."""
    made, make = [0], WeightUpdate.make

    def or_die(*arguments: Any) -> float:
        made[0] += 1
        if made[0] > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(*arguments)

    setattr(WeightUpdate, "make", or_die)  # noqa: B010  # mypy allows no assignment to a method


def main(folder: str, given: str) -> int:
    """Harden as one of several processes; the first leaves its weights, each says which steps it reported."""
    torch.set_num_threads(1)
    options, ranks = json.loads(given), joined()
    if options.get("dies") == ranks.rank:
        dying(options["after"])
    seed = 1 if options.get("differs") == ranks.rank else 0
    try:
        made, seen = hardened(
            Path(folder), resume="resume" in options, seed=seed, batch=options.get("batch", 16)
        )
    except HardenError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{len(seen)} {made.origin.deterministic}\n")
    if ranks.is_main:
        write_snapshot(Snapshot(weights_of(made.model)), Path(folder) / options["name"])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
