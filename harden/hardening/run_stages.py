"""Training runs: stages within one budget, with checkpoints on disk where requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from harden.artefact.parity.parity_gated_export import first_images
from harden.artefact.parity.trial_export import check_exportable
from harden.artefact.provenance import Origin
from harden.data import Source, from_loader
from harden.data import unlabelled as from_unlabelled
from harden.draws import mix
from harden.errors import ExportError, HardenError, InputError
from harden.hardening.hardened import Hardened
from harden.hardening.processes.run_progress import RunProgress, opened_progress
from harden.hardening.processes.same_in_all_ranks import check_same_run
from harden.hardening.recipes.rate_probe import PROBE_STAGE, at_rate, best_rate, ends, try_rates
from harden.hardening.recipes.recipe import Recipe, described, stages
from harden.hardening.recipes.recipe_defaults import with_defaults
from harden.hardening.run_identity import RunRequest, check_request, plan_of
from harden.models import Classifier, float32_copy, given_back, plain
from harden.models.devices import check_device
from harden.models.snapshot import Snapshot, prefixed, put_tensors, tensors_of
from harden.system.ranks import check_divides, joined, own_device
from harden.threats import Threat
from harden.training import Budget, Checkpoints, StepRecord, Validation, train
from harden.training.checkpointing.run_checkpoints import CheckpointWriter
from harden.training.cost_ledger import CostLedger
from harden.training.minimum_budget import FirstEpochCheck
from harden.training.preflight import check_budget, check_fit, check_objective
from harden.training.stage import CleanLimit
from harden.training.weights.weight_averaging import weights_of

OnStep = Callable[[StepRecord], None]


@plain()
def harden(
    model: Classifier,
    data: object,
    *,
    threat: Threat,
    recipe: Recipe | None = None,
    budget: str | Budget = "10min",
    seed: int = 0,
    device: str | torch.device | None = None,
    unlabelled: object = None,
    exportable: bool = True,
    checkpoints: Checkpoints | None = None,
    on_step: OnStep | None = None,
) -> Hardened:
    """Harden a copy of a classifier against a threat, within a budget.

    A part of the training data is held out and chooses the checkpoint by robust accuracy. The model that was
    given stays as it is; the copy has float32 weights, as the exported file has. On CPU the same seed gives
    the same weights bit for bit, unless the budget is in time; so does a run that was interrupted, also by a
    kill or a loss of power, and resumes from its checkpoints.

    Under torchrun or accelerate launch all processes call it alike. Each computes its part of every batch.
    All return the same weights, which are those of one process up to rounding. The first one alone writes
    checkpoints and calls `on_step`.

    Args:
        model: the classifier, trained or not.
        data: a DataLoader over a map-style dataset, Examples, a pair (x, y), or any iterable of batches.
        threat: what to harden against, Linf("8/255") for instance.
        recipe: how; `Recipe()` by default.
        budget: what the whole run may spend: "10min", "300E" (passes per labelled training image) or
            "3epochs".
        seed: of everything random.
        device: where to train; where the model is, by default.
        unlabelled: images that pretraining sees instead of the labelled ones: a loader of images, or of pairs
            whose labels are ignored.
        exportable: whether the model has to be one that `Hardened.export` takes, which is tried on a copy
            before the first step: it takes a second or a few. False for a model that is never exported.
        checkpoints: where the run keeps its progress, and whether it resumes from it.
        on_step: called with every step's record.

    Raises:
        InputError: the data are unfit for the model, or an argument is out of range; or what the checkpoints
            hold is another run, whose difference is named; or the processes have different inputs, or their
            number does not divide the batch size.
        ExportError: the model can't be exported, and why.
        DivergedError: the loss is no longer a number.
        LostProcessError: another process has ended or does not answer.
    """
    place = None if device is None else own_device(check_device(device))
    job = job_of(
        model,
        data,
        threat=threat,
        recipe=recipe,
        budget=budget,
        seed=seed,
        device=place,
        unlabelled=unlabelled,
    )
    hardened = float32_copy(model, place)
    with given_back(model):  # the copy shares with it what can't be copied, and what its functions name
        return _checked_run(job, hardened, checkpoints, on_step, exportable=exportable)


def _checked_run(
    job: RunRequest,
    hardened: Classifier,
    checkpoints: Checkpoints | None,
    on_step: OnStep | None,
    *,
    exportable: bool,
) -> Hardened:
    check_fit(hardened, job.source)
    check_objective(job.recipe.finetune, hardened, job.source, job.threat)
    ranks, plan = joined(), plan_of(job, hardened.device.type)
    check_same_run({**plan, **(checkpoints.also if checkpoints else {})}, hardened, ranks)
    with opened_progress(checkpoints, plan, ranks) as progress:
        if exportable and progress.found is None:  # a resumed run was tried when it began
            ranks.on_main(lambda: _check_exportable(job, hardened))
        return _run(job, hardened, progress, on_step if ranks.is_main else None)


def _check_exportable(job: RunRequest, hardened: Classifier) -> None:
    try:
        check_exportable(hardened, *first_images(job.source), job.threat)
    except ExportError as error:
        raise ExportError(
            error.seen,
            error.expected,
            f"{error.instead}; for weights without a file write harden(..., exportable=False)",
        ) from error


def job_of(
    model: Classifier,
    data: object,
    *,
    threat: Threat,
    recipe: Recipe | None = None,
    budget: str | Budget = "10min",
    seed: int = 0,
    device: torch.device | None = None,
    unlabelled: object = None,
) -> RunRequest:
    """The run that `harden` would make with these arguments, which are its own.

    Raises:
        InputError: as `harden`.
    """
    ranks = joined()
    recipe, whole = recipe or Recipe(), Budget.parse(budget)
    # Before the data: a loader may take minutes to read.
    check_request(model, threat, recipe, unlabelled)
    recipe = with_defaults(recipe, model, device)
    others = None if unlabelled is None else from_unlabelled(unlabelled)
    source = from_loader(data)
    for each in (source, others):
        if each is not None:
            check_divides(each.batch_size, ranks)
    return RunRequest(model, source, others, threat, recipe, whole, seed)


def held_out_of(source: Source, recipe: Recipe, seed: int) -> tuple[Source, Source]:
    """Split training images into (rest, held_out) as a run with this recipe and seed does."""
    share = min(recipe.held_out, recipe.held_out_limit / max(len(source), 1))
    return source.hold_out(share, mix(seed, 1) >> 1)


def _run(job: RunRequest, hardened: Classifier, progress: RunProgress, on_step: OnStep | None) -> Hardened:
    # Seeds are derived, so that stages, split and validation never share a stream.
    recipe, keeper = job.recipe, progress.keeper
    rest, held_out = held_out_of(job.source, recipe, job.seed)
    validation = Validation(
        held_out, job.threat, seed=mix(job.seed, 2) >> 1, limit=_clean_limit(recipe, hardened, len(held_out))
    )
    account, begin, start = _found(progress, hardened, len(rest))
    plan = stages(recipe, job.budget)
    for number, stage in enumerate(plan):
        if number < begin:
            continue
        stage = replace(stage, images=len(rest))
        if number:
            stage = account.within(stage, job.budget)
        # Contrastive pretraining has no logits to validate; a recipe may also keep its last weights.
        last = number == len(plan) - 1
        images = rest if last or job.unlabelled is None else job.unlabelled
        if last and recipe.rate_probe is not None:
            rate = account.rate
            if rate is None:
                tried = try_rates(recipe.rate_probe, stage, hardened, (rest, validation), on_step)
                rate = best_rate(tried, stage.optimiser.lr)
                account.add_trials(replace(stage, name=PROBE_STAGE), rate, ends(tried))
                if keeper is not None:
                    keeper.begin_history(account.lines())
                    keeper.keep(_between(number, account, hardened))
            stage = at_rate(account.within(stage, job.budget), rate)
        training = train(
            stage,
            hardened,
            images,
            job.threat,
            validation=validation if last and recipe.validations else None,
            seed=mix(job.seed, 3, number) >> 1,
            start=start if number == begin else None,
        )
        whole = FirstEpochCheck(stage, len(images)) if last else None
        for record in training:
            if whole is not None:
                if record.step == 1:
                    check_budget(stage, images, record, len(held_out) if recipe.validations else 0)
                with _discarding(keeper):
                    whole.add(record)
            line = account.add(record)
            if keeper is not None:
                if line is not None:
                    keeper.append_history(line)
                if keeper.due():
                    keeper.keep(_moment(number, account, training.snapshot()))
            if on_step is not None:
                on_step(record)
        if whole is not None:
            with _discarding(keeper):
                whole.end(account.last)
        account.close(stage)
        if keeper is not None:
            keeper.keep(_between(number + 1, account, hardened))
    hardened.eval()
    origin = Origin(
        recipe=described(recipe, job.budget),
        stages=tuple(account.stages),
        history=tuple(account.history),
        seeds={"seed": job.seed},
        # Kernels on other devices add in an order of their own, and so do several processes.
        deterministic=job.budget.deterministic and hardened.device.type == "cpu" and not joined().several,
        device=str(hardened.device),
    )
    seen = tuple(source for source in (job.source, job.unlabelled) if source is not None)
    return Hardened(hardened, job.model, job.threat, recipe, job.seed, origin, progress.plan, seen)


def _clean_limit(recipe: Recipe, hardened: Classifier, held_out: int) -> CleanLimit | None:
    """The recipe's limit, with the present weights as those from before training."""
    drop = recipe.max_clean_drop
    if drop is None:
        return None
    if 0 < drop * held_out < 1:
        raise InputError(
            f"max_clean_drop {drop} with {held_out} held-out images, one of which is {1 / held_out:.2g}",
            "a limit of one image or more",
            f"write max_clean_drop={1 / held_out:.2g} or larger, or hold out more images (held_out)",
        )
    return CleanLimit(drop, weights_of(hardened))


@contextmanager
def _discarding(keeper: CheckpointWriter | None) -> Iterator[None]:
    """Drop the progress of a run whose budget is refused: the same plan would be refused again."""
    try:
        yield
    except HardenError:
        if keeper is not None:
            keeper.discard()
        raise


def _moment(stage: int, account: CostLedger, training: Snapshot) -> Snapshot:
    """A moment inside a stage."""
    facts = {"stage": stage, "account": account.facts(), "training": training.facts}
    return Snapshot(prefixed("training", training.tensors), facts)


def _between(stage: int, account: CostLedger, hardened: Classifier) -> Snapshot:
    """The moment before a stage, or after the last one."""
    facts = {"stage": stage, "account": account.facts(), "training": None}
    return Snapshot(prefixed("model", tensors_of(hardened)), facts)


def _found(progress: RunProgress, hardened: Classifier, n: int) -> tuple[CostLedger, int, Snapshot | None]:
    """The account, the stage to begin with, and the moment inside it."""
    account, found = CostLedger(n), progress.found
    start: Snapshot | None = None
    begin = 0
    if found is not None:
        account.restore(found.facts["account"])
        begin = found.facts["stage"]
        if found.facts["training"] is None:
            put_tensors(hardened, found.part("model"))
        else:
            start = Snapshot(found.part("training"), found.facts["training"])
    if progress.keeper is not None:
        progress.keeper.begin_history(account.lines())
    return account, begin, start
