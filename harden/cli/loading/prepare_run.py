"""What a run is made of, loaded and checked; nothing is written."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import final

import torch

from harden.artefact.artefact_folder import check_folder
from harden.cli.loading.model_spec import ModelSpec
from harden.cli.loading.output_folder import check_apart, check_replaceable
from harden.cli.options.logger_options import Tracker, trackers
from harden.cli.options.run_options import Choice
from harden.cli.proving import search_named
from harden.cli.recipes import check_class_weights, class_weights, recipe
from harden.cli.sampling import evaluated_images
from harden.cli.suites import suite_named
from harden.data import Examples, Source, Splits, from_loader, leaks, load, unlabelled, without
from harden.data.sources.in_memory import ExamplesSource
from harden.errors import InputError
from harden.evaluation import Attempt
from harden.evaluation.proofs.prove import RadiusSearch
from harden.evaluation.time_limit import TimeLimit
from harden.hardening import Recipe
from harden.hardening.run_stages import held_out_of
from harden.models import Classifier, FastCopy
from harden.models.devices import check_device
from harden.threats import Threat, from_name
from harden.training import Budget
from harden.training.preflight import check_fit, check_objective, check_repeatable

_log = logging.getLogger("harden")


@final
@dataclass(frozen=True, slots=True)
class Options:
    """The options read, before any data are."""

    threat: Threat
    budget: Budget
    attempts: tuple[Attempt, ...]
    device: torch.device
    trackers: tuple[Tracker, ...]
    search: RadiusSearch | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A run that can begin.

    Attributes:
        options: what the options say.
        spec: what builds the model.
        origin: the same, or what the run's folder that it names remembers.
        splits: the data, without leaks.
        dropped: training images that were left out as test images.
        unlabelled: images that pretraining sees in place of the training images, or None.
        test: images for the evaluation.
        recipe: how to harden.
        model: the classifier, on the CPU.
        batch_size: images at a time in training.
        seed: of everything random.
    """

    options: Options
    spec: ModelSpec
    origin: ModelSpec
    splits: Splits
    dropped: int
    unlabelled: Examples | None
    test: Examples
    recipe: Recipe
    model: Classifier
    batch_size: int
    seed: int = 0

    @property
    def held_out(self) -> int:
        """How many training images choose the checkpoint; about as many, where there are no groups."""
        n = len(self.splits.train)
        if self.splits.train.groups is not None:
            return len(held_out_of(self.source(), self.recipe, self.seed)[1])
        return round(n * min(self.recipe.held_out, self.recipe.held_out_limit / n))

    @property
    def trained_on(self) -> int:
        """About how many images are trained on: E counts passes for each of these."""
        return len(self.splits.train) - self.held_out

    def source(self) -> ExamplesSource:
        """The training images in batches."""
        return ExamplesSource(self.splits.train, self.batch_size)

    def unlabelled_source(self) -> Source | None:
        """The images for pretraining in batches."""
        return None if self.unlabelled is None else unlabelled(self.unlabelled, self.batch_size)


def read_options(choice: Choice) -> Options:
    """Refuse what can be refused before any data are read.

    Raises:
        InputError: an option is not what it has to be.
    """
    threat, budget = from_name(choice.norm, choice.eps), Budget.parse(choice.budget)
    # What a certificate says is measured in float32, whatever steers the training.
    attempts = suite_named(choice.attacks, choice.steps, choice.restarts)
    search = search_named(choice.prove, choice.prove_minutes)
    TimeLimit(choice.evaluate_minutes)
    check_class_weights(choice.class_weights)
    made = recipe(choice.pretrain, choice.finetune, 1, beta=choice.beta, lr=choice.lr)
    if threat.eps == 0:
        raise InputError(
            f"--eps {choice.eps}", "a budget to harden against", "write --eps 8/255, for instance"
        )
    if choice.batch_size < 1:
        raise InputError(f"a batch size of {choice.batch_size}", "at least 1", "pass a positive batch size")
    if not 0 <= choice.checkpoint_every < float("inf"):
        seen = f"--checkpoint-every {choice.checkpoint_every:g}"
        raise InputError(seen, "seconds, 0 or more", "write --checkpoint-every 30")
    if choice.unlabelled and made.pretrain is None:
        raise InputError(
            f"--unlabelled {choice.unlabelled} with --pretrain none",
            "a pretraining that looks at them",
            "write --pretrain simclr, or leave --unlabelled out",
        )
    device = check_device(choice.device)
    found = trackers(choice.log)
    check_folder(choice.out)
    if choice.force and choice.resume:
        raise InputError(
            "--force with --resume", "one of them: to replace a run, or to go on with it", "leave one out"
        )
    check_apart(choice.out, ModelSpec(choice.model, str(choice.weights) if choice.weights else None))
    if not choice.resume:
        _check_replaceable(choice)
    return Options(threat, budget, attempts, device, found, search)


def _check_replaceable(choice: Choice) -> None:
    try:
        check_replaceable(choice.out, choice.force)
    except InputError as error:
        instead = f"{error.instead}, or --resume to have its result told again"
        raise InputError(error.seen, error.expected, instead) from None


def prepare(choice: Choice) -> Ready:
    """Load data and model, and look at both together.

    Raises:
        InputError: they are not what they have to be, or training and test images are the same.
    """
    options = read_options(choice)
    splits, dropped = _without_leaks(load(choice.data), choice.drop_leaks)
    spec = ModelSpec.of(
        choice.model, choice.weights, choice.mean, choice.std, head=choice.head, output=choice.output
    )
    made = recipe(
        choice.pretrain,
        choice.finetune,
        splits.train.image_shape[0],
        beta=choice.beta,
        lr=choice.lr,
        class_weights=class_weights(choice.class_weights, splits.train.y, len(splits.train.classes)),
        steering=FastCopy(bfloat16=choice.bfloat16),
    )
    test = evaluated_images(splits, choice.test_images)
    model = spec.build(splits, choice.seed)
    check_fit(model, from_loader(splits.train, choice.batch_size))
    check_objective(made.finetune, model, from_loader(splits.train, choice.batch_size), options.threat)
    # The export would refuse it too, with the whole budget spent.
    check_repeatable(model, from_loader(splits.train, choice.batch_size))
    others = None if made.pretrain is None else _unlabelled(choice, splits)
    _log.info("%s", model.describe())
    return Ready(
        options,
        spec,
        spec.resolved(),
        splits,
        dropped,
        others,
        test,
        made,
        model,
        choice.batch_size,
        choice.seed,
    )


def _without_leaks(splits: Splits, drop: bool) -> tuple[Splits, int]:
    """The splits without training images that are test images, and how many there were."""
    found = leaks(splits.train, splits.test)
    if not len(found):
        return splits, 0
    if not drop:
        raise InputError(
            f"{splits.name}: {found.describe()}: {found.listed()}",
            "test images that training never saw",
            f"write --drop-leaks to leave these {len(found.train):,} images out of training",
        )
    return replace(splits, train=without(splits.train, found.train)), len(found.train)


def _unlabelled(choice: Choice, splits: Splits) -> Examples | None:
    """What pretraining sees in place of the training images: a set of its own, or one that the data bring."""
    extra = load(choice.unlabelled).train if choice.unlabelled else splits.unlabelled
    if extra is None:
        return None
    if extra.image_shape != splits.train.image_shape:
        raise InputError(
            f"unlabelled images of {extra.image_shape} and training images of {splits.train.image_shape}",
            "one size",
            "resize one of them",
        )
    found = leaks(extra, splits.test)
    if len(found) and not choice.drop_leaks:
        raise InputError(
            f"unlabelled images: {found.describe()}",
            "test images that pretraining never saw",
            f"write --drop-leaks to leave these {len(found.train):,} images out",
        )
    return without(extra, found.train) if len(found) else extra
