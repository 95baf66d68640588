"""Inputs of a run from the options of `harden run`: read, loaded and checked; nothing is written."""

from __future__ import annotations

import logging

from harden.artefact.artefact_folder import check_folder
from harden.cli.options.logger_options import trackers
from harden.cli.options.run_options import RunOptions
from harden.cli.output.console import say
from harden.data import from_loader, load
from harden.data.splits.evaluation_sample import evaluated_images
from harden.errors import InputError
from harden.evaluation.proofs.methods import search_named
from harden.evaluation.suite_lookup import suite_of
from harden.evaluation.time_limit import TimeLimit
from harden.hardening.drop_test_leaks import unlabelled_images, without_leaks
from harden.hardening.model_spec import ModelSpec
from harden.hardening.output_folder import check_apart, check_replaceable
from harden.hardening.recipes.named_recipes import class_weights, recipe
from harden.hardening.recipes.recipe_defaults import with_defaults
from harden.hardening.run_identity import takes_unlabelled
from harden.hardening.run_inputs import RunInputs, RunSettings
from harden.models import FastCopy
from harden.models.devices import check_device
from harden.system.ranks import check_divides, joined
from harden.threats import from_name
from harden.training import Budget
from harden.training.preflight import check_fit, check_objective, check_repeatable

_log = logging.getLogger("harden")


def model_spec(options: RunOptions) -> ModelSpec:
    """The model that the options name."""
    return ModelSpec.of(
        options.model, options.weights, options.mean, options.std, head=options.head, output=options.output
    )


def read_settings(options: RunOptions) -> RunSettings:
    """Read the options that need no data, and refuse what can be refused before any are read.

    Raises:
        InputError: an option has a wrong value.
    """
    threat, suite = from_name(options.norm, options.eps), options.suite
    settings = RunSettings(
        threat,
        Budget.parse(options.budget),
        suite,
        # In float32 whatever precision training uses: these attacks decide the certificate's numbers.
        suite_of(suite.attacks, suite.steps, suite.restarts),
        check_device(options.device),
        search=search_named(options.prove, options.prove_minutes),
        minutes=options.evaluate_minutes,
        bfloat16=options.bfloat16,
        auto_batch=options.auto_batch,
        seed=options.seed,
    )
    TimeLimit(options.evaluate_minutes)
    made = recipe(options.training, 1)
    if threat.eps == 0:
        raise InputError(
            f"--eps {options.eps}", "a budget to harden against", "write --eps 8/255, for instance"
        )
    if options.batch_size < 1:
        raise InputError(f"a batch size of {options.batch_size}", "at least 1", "pass a positive batch size")
    _check_processes(options)
    if not 0 <= options.checkpoint_every < float("inf"):
        seen = f"--checkpoint-every {options.checkpoint_every:g}"
        raise InputError(seen, "seconds, 0 or more", "write --checkpoint-every 30")
    if options.unlabelled and not takes_unlabelled(made):
        raise InputError(
            f"--unlabelled {options.unlabelled} with --pretrain {options.training.pretrain}",
            "a pretraining that uses them",
            "write --pretrain simclr, or leave --unlabelled out",
        )
    trackers(options.log or ())
    if joined().is_main:  # for all processes, which may come here after it has made the folder
        _check_out(options)
    return settings


def _check_processes(options: RunOptions) -> None:
    ranks = joined()
    check_divides(options.batch_size, ranks)
    if ranks.several and options.auto_batch:
        raise InputError(
            f"--auto-batch in {ranks.size} processes",
            "one process, in which batches are tried",
            "write the --batch-size of all processes together",
        )


def _check_out(options: RunOptions) -> None:
    check_folder(options.out)
    if options.force and options.resume:
        raise InputError(
            "--force with --resume", "one of them: to replace a run, or to go on with it", "leave one out"
        )
    spec = ModelSpec(options.model, str(options.weights) if options.weights else None)
    check_apart(options.out, spec.folder, spec.weights)
    if options.resume:
        return
    try:
        check_replaceable(options.out, options.force)
    except InputError as error:
        instead = f"{error.instead}, or --resume to have its result printed again"
        raise InputError(error.seen, error.expected, instead) from None


def prepare(options: RunOptions) -> RunInputs:
    """Load data and model, and check both together.

    Raises:
        InputError: they are unfit, or training and test images are the same.
    """
    settings = read_settings(options)
    splits, dropped = without_leaks(load(options.data), options.drop_leaks)
    names = options.training
    weights = class_weights(names.class_weights, splits.train.y, len(splits.train.classes))
    made = recipe(names, splits.train.image_shape[0], weights, FastCopy(bfloat16=options.bfloat16))
    test = evaluated_images(splits, options.test_images)
    spec = model_spec(options)
    model = spec.build(splits, options.seed, say if joined().is_main else _log.info)
    made = with_defaults(made, model, settings.device)
    check_fit(model, from_loader(splits.train, options.batch_size))
    check_objective(made.finetune, model, from_loader(splits.train, options.batch_size), settings.threat)
    # The export would refuse it too, with the whole budget spent.
    check_repeatable(model, from_loader(splits.train, options.batch_size))
    unlabelled = None
    if takes_unlabelled(made):
        extra = load(options.unlabelled).train if options.unlabelled else splits.unlabelled
        unlabelled = unlabelled_images(extra, splits, options.drop_leaks)
    _log.info("%s", model.describe())
    return RunInputs(
        settings,
        splits,
        test,
        made,
        model,
        options.batch_size,
        dropped,
        unlabelled,
        trained=bool(spec.weights or spec.folder),
        notes=spec.resolved().notes(),
    )
