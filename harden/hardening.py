"""The main job in one call: a user's classifier in, a hardened one out, with the account of what it cost."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import torch

from harden.artefact.certifying import Claim, OnPhase
from harden.artefact.exporting import export
from harden.artefact.folder import CHECKPOINT_FOLDER, HISTORY_FILE, prepare_folder
from harden.artefact.loaded import Artefact
from harden.artefact.origin import Origin
from harden.data import from_loader
from harden.description import JSON, describe
from harden.draws import mix
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, evaluate, pgd_suite
from harden.files import write_text
from harden.models import Classifier
from harden.objectives import TRADES, Objective
from harden.threats import Threat
from harden.training import AdamW, Budget, Stage, StepRecord, Validation, train
from harden.training.account import Account
from harden.training.checkpoint import save_weights
from harden.training.fit import check_fit
from harden.training.optimisers import Optimiser

OnStep = Callable[[StepRecord], None]


@final
@dataclass(frozen=True, slots=True)
class Recipe:
    """How to harden: an objective to pretrain with, one to fine-tune with, and how the budget is shared.

    Args:
        finetune: the objective of the last stage; TRADES by default.
        pretrain: a contrastive objective for a stage before it; none by default.
        pretrain_share: share of the whole budget that pretraining may spend.
        optimiser: of fine-tuning.
        pretrain_optimiser: of pretraining.
        ramp: share of fine-tuning over which eps rises from 0.
        average: decay of the moving average of the weights, which is what is kept.
        validations: how often robust accuracy is measured while fine-tuning; 0 keeps the last weights.
        held_out: share of the training images that chooses the checkpoint and is never trained on.
        held_out_limit: about so many at most, since validation is paid for out of the budget.

    Raises:
        InputError: a share is outside (0, 1).
    """

    finetune: Objective = field(default_factory=TRADES)
    pretrain: Objective | None = None
    pretrain_share: float = 0.2
    optimiser: Optimiser = field(default_factory=AdamW)
    pretrain_optimiser: Optimiser = field(default_factory=AdamW)
    ramp: float = 0.3
    average: float = 0.99
    validations: int = 10
    held_out: float = 0.1
    held_out_limit: int = 512

    def __post_init__(self) -> None:
        for name in ("pretrain_share", "held_out"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise InputError(f"{name} {share}", "a share between 0 and 1", f"write {name}=0.1")


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Hardened:
    """A hardened model with the account of how it came about.

    Attributes:
        model: the hardened classifier, in inference mode.
        before: the classifier that was given, as it was and is.
        threat: what it was hardened against.
        recipe: how.
        seed: of everything random.
        origin: recipe, costs and history, as the certificate will tell them.
    """

    model: Classifier
    before: Classifier
    threat: Threat
    recipe: Recipe
    seed: int
    origin: Origin

    def __repr__(self) -> str:
        spent = sum(stage.epochs_equivalent for stage in self.origin.stages)
        return (
            f"Hardened({type(self.model.network).__name__}, {self.threat}, {spent:.1f} E, seed={self.seed})"
        )

    @property
    def _attack_seed(self) -> int:
        return mix(self.seed, 9) >> 1

    def evaluate(
        self, data: object, attempts: Sequence[Attempt] | None = None, batch_size: int = 256
    ) -> Evaluation:
        """Measure the model in torch, clean and as the worst case over attempts; see `harden.evaluate`."""
        return evaluate(
            self.model, data, self.threat, attempts, seed=self._attack_seed, batch_size=batch_size
        )

    def export(
        self,
        folder: str | Path,
        data: object,
        *,
        attempts: Sequence[Attempt] | None = None,
        compare: Mapping[str, Classifier] | None = None,
        split: str = "as given",
        on_phase: OnPhase | None = None,
    ) -> Artefact:
        """Write the parity-checked ONNX file with certificate, evidence, page, history and checkpoint.

        Args:
            folder: empty, missing, or an artefact to replace.
            data: test images: neither training nor the choice of the checkpoint has seen them.
            attempts: PGD-50 on cross-entropy and margin, 3 restarts each, by default.
            compare: a model to print beside the hardened one, by its name: the model that was given, by
                default; none with an empty mapping.
            split: what the data are, for the certificate ("test").
            on_phase: called with (phase, done, total).

        Raises:
            InputError: the folder holds other things, the data are unfit, or compare names several models.
            ExportError: the graph does not compute what the model computes.
        """
        beside = {"before hardening": self.before} if compare is None else dict(compare)
        if len(beside) > 1:
            raise InputError(f"{len(beside)} models to compare with", "one at most", "keep one of them")
        target = prepare_folder(folder)
        claim = Claim(
            threat=self.threat,
            attempts=pgd_suite() if attempts is None else attempts,
            before=next(iter(beside.values()), None),
            before_name=next(iter(beside), ""),
            origin=self.origin,
            seed=self._attack_seed,
            split=split,
        )
        artefact = export(self.model, target, data, claim, on_phase=on_phase)
        save_weights(self.model, target / CHECKPOINT_FOLDER)
        lines = [json.dumps(point.model_dump()) for point in self.origin.history]
        write_text(target / HISTORY_FILE, "\n".join(lines) + "\n")
        return artefact


def harden(
    model: Classifier,
    data: object,
    *,
    threat: Threat,
    recipe: Recipe | None = None,
    budget: str | Budget = "10min",
    seed: int = 0,
    device: str | torch.device | None = None,
    on_step: OnStep | None = None,
) -> Hardened:
    """Harden a copy of a classifier against a threat, within a budget.

    A part of the training data is held out and chooses the checkpoint by robust accuracy. The model that was
    given stays as it is. On CPU the same seed gives the same weights bit for bit, unless the budget is in
    time.

    Args:
        model: the classifier, trained or not.
        data: a DataLoader over a map-style dataset, Examples, a pair (x, y), or any iterable of batches.
        threat: what to harden against, Linf("8/255") for instance.
        recipe: how; TRADES with its defaults otherwise.
        budget: what the whole run may spend: "10min", "300E" (passes per training image) or "3epochs".
        seed: of everything random.
        device: where to train; where the model is, by default.
        on_step: called with every step's record.

    Raises:
        InputError: the data are unfit for the model, or an argument is out of range.
        DivergedError: the loss is no longer a number.
    """
    if not isinstance(model, Classifier):
        raise InputError(
            f"a {type(model).__name__}",
            "a harden.Classifier",
            "write harden.Classifier(model, mean=..., std=...)",
        )
    if not hasattr(threat, "eps"):
        raise InputError(f"a threat {threat!r}", "Linf or L2", 'write threat=harden.Linf("8/255")')
    if threat.eps == 0:
        raise InputError(
            "a threat with eps 0", "a budget to harden against", 'write Linf("8/255"), for instance'
        )
    recipe, whole = recipe or Recipe(), Budget.parse(budget)
    source = from_loader(data)
    hardened = copy.deepcopy(model)
    if device is not None:
        hardened.to(device)
    check_fit(hardened, source)
    # Seeds are derived, so that stages, split and validation never share a stream.
    share = min(recipe.held_out, recipe.held_out_limit / max(len(source), 1))
    rest, held_out = source.hold_out(share, mix(seed, 1) >> 1)
    validation = Validation(held_out, threat, seed=mix(seed, 2) >> 1)
    account = Account(len(rest))
    plan = stages(recipe, whole)
    for number, stage in enumerate(plan):
        if number:
            stage = account.within(stage, whole)
        # Contrastive pretraining has no logits to validate; a recipe may also ask for its last weights.
        last = number == len(plan) - 1
        judge = validation if last and recipe.validations else None
        steps = train(stage, hardened, rest, threat, validation=judge, seed=mix(seed, 3, number) >> 1)
        for record in steps:
            account.add(record)
            if on_step is not None:
                on_step(record)
        account.close(stage)
    hardened.eval()
    origin = Origin(
        recipe=_described(recipe, whole),
        stages=tuple(account.stages),
        history=tuple(account.history),
        seeds={"seed": seed},
        # Kernels on other devices add in an order of their own.
        deterministic=whole.deterministic and hardened.device.type == "cpu",
        device=str(hardened.device),
    )
    return Hardened(hardened, model, threat, recipe, seed, origin)


def stages(recipe: Recipe, budget: Budget) -> tuple[Stage, ...]:
    """The stages of a recipe under a budget."""
    last = Stage(
        "finetune",
        recipe.finetune,
        budget,
        optimiser=recipe.optimiser,
        ramp=recipe.ramp,
        average=recipe.average,
        validations=recipe.validations,
    )
    if recipe.pretrain is None:
        return (last,)
    first = Stage(
        "pretrain",
        recipe.pretrain,
        budget.part(recipe.pretrain_share),
        optimiser=recipe.pretrain_optimiser,
        ramp=recipe.ramp,
        average=0.0,
    )
    return first, last


def _described(recipe: Recipe, budget: Budget) -> dict[str, JSON]:
    described = describe(recipe)
    if not isinstance(described, dict):
        raise TypeError(f"a recipe describes itself as fields, not as {described!r}")
    return {**described, "budget": str(budget)}
