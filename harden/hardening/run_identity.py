"""The identity of a run: everything that its weights depend on, as JSON, for comparison with another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import final

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, PROGRESS_FOLDER, sweep
from harden.data import Source, identity
from harden.description import JSON, describe
from harden.errors import InputError
from harden.evaluation.judge_outputs import check_model, check_threat
from harden.hardening.recipe import Recipe, described
from harden.models import Classifier
from harden.models.snapshot import digest_of, tensors_of
from harden.objectives import LinearProbe, WarmUp
from harden.objectives.awp import without_wrappers
from harden.threats import Threat
from harden.training import Budget
from harden.training.checkpointing.run_checkpoints import PLAN_FILE, check_same, is_unfinished, read_plan


@final
@dataclass(frozen=True, slots=True, eq=False)
class RunRequest:
    """The checked arguments of `harden`.

    Attributes:
        model: the classifier that was given.
        source: labelled training images.
        unlabelled: images for pretraining instead, or None.
        threat: what to harden against.
        recipe: how.
        budget: of the whole run.
        seed: of everything random.
    """

    model: Classifier
    source: Source
    unlabelled: Source | None
    threat: Threat
    recipe: Recipe
    budget: Budget
    seed: int


def check_request(model: object, threat: Threat, recipe: Recipe, unlabelled: object) -> None:
    """Refuse what can be refused before any data are read.

    Raises:
        InputError: no Classifier, no threat to harden against, no Recipe, or images that no
            stage would use.
    """
    check_model(model)
    check_threat(threat)
    if not isinstance(recipe, Recipe):
        raise InputError(
            f"a recipe {recipe!r}",
            "a harden.Recipe",
            "write recipe=harden.Recipe(finetune=harden.TRADES()), for instance",
        )
    if threat.eps == 0:
        raise InputError(
            "a threat with eps 0", "a budget to harden against", 'write Linf("8/255"), for instance'
        )
    if recipe.pretrain is not None and _draws_anew(recipe):
        raise InputError(
            "pretraining before an objective that draws the weights anew",
            "one of both",
            "write warm_up=WarmUp(redraw=False) to start from the pretrained weights, or pretrain=None",
        )
    if unlabelled is not None and not takes_unlabelled(recipe):
        raise InputError(
            "unlabelled images and nothing to pretrain",
            "a contrastive objective that uses them",
            "write Recipe(pretrain=harden.objectives.SimCLR()), or leave them out",
        )


def takes_unlabelled(recipe: Recipe) -> bool:
    """Whether the recipe has a stage of pretraining that needs no labels."""
    return recipe.pretrain is not None and not isinstance(recipe.pretrain, LinearProbe)


def plan_of(job: RunRequest, device: str) -> dict[str, JSON]:
    """Everything that the weights depend on: data by content, the network by its weights, recipe and seed."""
    return {
        "data": _data(job.source),
        "unlabelled": None if job.unlabelled is None else _data(job.unlabelled),
        "model": {
            "network": job.model.describe(),
            "layers": sha256(repr(job.model.network).encode()).hexdigest(),
            "weights": digest_of(tensors_of(job.model)),
            "frozen": ", ".join(
                name for name, weight in job.model.named_parameters() if not weight.requires_grad
            ),
            "held": _held(job.model),
        },
        "recipe": described(job.recipe, job.budget),
        "threat": describe(job.threat),
        "seed": job.seed,
        "device": device,
    }


def _held(model: Classifier) -> str:
    """Parts in inference mode inside a network in training mode, which training leaves in it."""
    if not model.network.training:
        return ""
    return ", ".join(name for name, part in model.network.named_modules() if not part.training)


def _data(source: Source) -> dict[str, JSON]:
    return {**identity(source), "batch_size": source.batch_size}


def finished(folder: str | Path, plan: Mapping[str, JSON]) -> Artefact | None:
    """The artefact in a folder, where a run with this very plan has made it; None where no run has.

    What a kill at the very end has left under temporary names is removed.

    Raises:
        InputError: the run that made it had another plan.
        BrokenClaimError: a file differs from its digest.
    """
    path = Path(folder) / CHECKPOINT_FOLDER / PLAN_FILE
    if is_unfinished(Path(folder) / PROGRESS_FOLDER) or not path.is_file():
        return None
    check_same(read_plan(path), plan, str(folder))
    artefact = Artefact(folder)
    sweep(Path(folder))
    return artefact


def _draws_anew(recipe: Recipe) -> bool:
    warm_up = getattr(without_wrappers(recipe.finetune), "warm_up", None)
    return isinstance(warm_up, WarmUp) and warm_up.redraw
