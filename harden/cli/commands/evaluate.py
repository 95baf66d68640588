"""`harden evaluate`: clean and robust accuracy, printed and written as JSON or as a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from harden.artefact.time_limited_certificate import finished_part
from harden.certificate.unreliable_reasons import NextCommand
from harden.cli.loading.evaluated_model import EvaluatedModel, check_spec, evaluated_model
from harden.cli.loading.evaluation_data import for_evaluation
from harden.cli.options.command_clock import finished, minutes_left, within
from harden.cli.options.evaluate_options import EvaluateOptions
from harden.cli.output.console import ProgressDisplay, say, write_json
from harden.cli.output.evaluation_table import show as show_evaluation
from harden.cli.output.evaluation_table import show_curve
from harden.cli.output.extra_measures_table import show
from harden.cli.output.unreliable_exit import evaluate_words, exit_code, say_why, step_after
from harden.data import Source, from_loader
from harden.data.splits.evaluation_sample import evaluated_images
from harden.deployed.evidence_level import MEANING, AttackSetup
from harden.deployed.onnx_classifier import NORMALISED, names_onnx_file
from harden.deployed.write_certificate import (
    artefact_file,
    bare_file,
    certifiable_logits,
    check_destination,
    write_certificate,
)
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, Phase, robustness_curve
from harden.evaluation import evaluate as measure
from harden.evaluation.natural.extra_measures import ExtraMeasures, MeasuredModel, as_decided, measured
from harden.evaluation.results.evaluation_report import EvaluationReport, curve_points
from harden.evaluation.suite_lookup import SuiteChoice, chosen, suite_of
from harden.hardening.model_spec import ModelSpec
from harden.losses import Classify
from harden.models import FastCopy
from harden.models.devices import check_device
from harden.models.out_of_memory import ran_out_of_memory
from harden.threats import Threat, from_name


def evaluate(options: EvaluateOptions) -> int:
    """Measure a model on the test images; 1 where the number can't be trusted."""
    spec = ModelSpec.of(
        options.spec, options.weights, options.mean, options.std, head=options.head, output=options.output
    )
    check_spec(spec)
    minutes_left(options.minutes)  # refused before anything is loaded
    extra = ExtraMeasures(options.decision_threshold, options.calibration, options.corruptions)
    suite = chosen(options.attacks, options.steps, options.restarts)
    threats, attempts = _threats(options), _attempts(options, suite)
    check_device(options.device)
    if options.certificate is not None:
        _check_certificate(options, spec, options.certificate, len(threats))
    splits = for_evaluation(options.data, spec.spec)
    extra.check(splits.test.classes)
    source = from_loader(splits.test, options.batch_size)
    with within(options.minutes):
        subject = evaluated_model(spec, splits, source, options, attempts)
    setup = subject.setup
    if options.certificate is not None:
        _check_certifiable(subject)
    images = from_loader(evaluated_images(splits, options.test_images), options.batch_size)
    decided, deciding = as_decided(extra, setup.model, setup.judge)
    setup = replace(setup, model=decided)
    with fitting(options.batch_size), ProgressDisplay() as watch:
        curve = _measured(setup, deciding, images, threats, options, watch)
        found = curve[-1]
        # Images that time did not suffice for are in none of the numbers.
        judged = MeasuredModel(setup.judge, deciding, finished_part(images, found)[0], options.seed)
        more = finished(options.minutes, partial(measured, extra, judged, found, watch.phase))
        late = more is None
        if more is None:
            more = measured(replace(extra, calibration=False, corruptions=False), judged, found, watch.phase)
    title = f"{splits.name} test, {threats[-1]}, decided by {setup.decided_by}"
    trusted = all(one.status == "ok" for one in curve)
    show_evaluation(found, title, splits.test.classes, trusted=trusted)
    for line in _remarks(setup, found, late=late, bare=subject.file is not None):
        say(line)
    if len(curve) > 1:
        show_curve(curve, f"{splits.name} test, {options.norm}")
    step = _say_why(spec, options, suite, extra, curve)
    show(more, splits.test.classes)
    more_fields = {"evidence": setup.level, **_as_whole(curve, step), **more.as_json()}
    report = EvaluationReport.of(found, setup.decided_by, splits.test.classes, options.seed, **more_fields)
    write_json(options.json_file, report.model_dump(mode="json", exclude_unset=True))
    if options.certificate is not None:
        _write_certificate(options.certificate, options.seed, subject, found, images)
    return exit_code(report.status)


def _attempts(options: EvaluateOptions, suite: SuiteChoice) -> tuple[Attempt, ...]:
    precision = FastCopy(bfloat16=options.bfloat16).precision
    return suite_of(suite.attacks, suite.steps, suite.restarts, precision)


def _threats(options: EvaluateOptions) -> tuple[Threat, ...]:
    """One threat for each eps, in the order in which they are written.

    Raises:
        InputError: several eps with --minutes or --journal, which are for one.
    """
    found = tuple(from_name(options.norm, eps.strip()) for eps in options.eps.split(","))
    if len(found) > 1 and (options.minutes is not None or options.journal is not None):
        raise InputError(
            f"--eps {options.eps} with --minutes or --journal",
            "one eps for these",
            "evaluate each eps by itself",
        )
    return found


def _check_certificate(options: EvaluateOptions, spec: ModelSpec, folder: Path, threats: int) -> None:
    """Refuse, before anything is loaded, what no certificate can hold."""
    unfit = {
        "several eps": threats > 1,
        "--decision-threshold": options.decision_threshold is not None,
        "--bfloat16": options.bfloat16,
        "--black-box": options.black_box,
        "a model that is no ONNX file": spec.folder is None and not names_onnx_file(spec.spec),
    }
    if named := [name for name, given in unfit.items() if given]:
        raise InputError(
            f"--certificate with {' and '.join(named)}",
            "an ONNX file under one threat, by its own gradients in float32 and its largest logit",
            "leave --certificate out, or write `harden export` for a network",
        )
    check_destination(folder, Path(spec.spec), replace=options.force)


def _check_certifiable(subject: EvaluatedModel) -> None:
    """Refuse, before anything is attacked, a file that no certificate can be about."""
    if subject.setup.level != "A":
        raise InputError(
            f"--certificate at evidence level {subject.setup.level}",
            "level A, by the file's own gradients: a certificate has no other",
            "leave --certificate out",
        )
    if subject.file is not None:
        certifiable_logits(subject.file)


def _write_certificate(
    folder: Path, seed: int, subject: EvaluatedModel, found: Evaluation, images: Source
) -> None:
    if subject.artefact is not None:
        known = artefact_file(subject.artefact)
    elif subject.file is not None:
        known = bare_file(subject.file, subject.setup.model, images, found)
    else:
        raise TypeError("a certificate of neither a file nor an artefact")
    artefact = write_certificate(folder, known, found, images, seed=seed)
    say(f"certificate in {artefact.folder}/, verified; check it again with: harden verify {artefact.folder}")


def _option_words(options: EvaluateOptions) -> list[str]:
    """The options other than model, data, threat and attacks, as they are typed; without a limit of time."""
    given: list[tuple[str, object, object]] = [
        ("--test-images", options.test_images, 0),
        ("--batch-size", options.batch_size, 256),
        ("--seed", options.seed, 0),
        ("--device", options.device, "cpu"),
        ("--twin", options.twin, ""),
    ]
    words = [word for name, value, usual in given if value != usual for word in (name, str(value))]
    return [*words, "--black-box"] if options.black_box else words


def _say_why(
    spec: ModelSpec,
    options: EvaluateOptions,
    suite: SuiteChoice,
    extra: ExtraMeasures,
    curve: tuple[Evaluation, ...],
) -> NextCommand | None:
    """Print the reasons of each eps, and return the command to run next."""
    words = evaluate_words(spec.words(), options.data, options.norm, options.eps)
    words += [*_option_words(options), *extra.words()]
    checks = [check for one in curve for check in one.checks]
    step = step_after(words, checks, suite.attacks, suite.steps, suite.restarts)
    for one in curve:
        say_why(one.checks, None, str(one.threat.eps) if len(curve) > 1 else "")
    say_why((), step)
    return step


def _as_whole(curve: tuple[Evaluation, ...], step: NextCommand | None) -> dict[str, Any]:
    """The JSON fields about all eps together: without trust in one of them there is no headline."""
    whole: dict[str, Any] = {"next": None if step is None else step.command}
    if len(curve) > 1:
        whole["curve"] = curve_points(curve)
    return whole


def _remarks(setup: AttackSetup, found: Evaluation, *, late: bool, bare: bool) -> list[str]:
    lines = [f"evidence level {setup.level}: {MEANING[setup.level]}"]
    if bare and found.caution():
        lines.append(NORMALISED)
    if late:
        lines.append("time was up: the other measures that were requested were not made")
    return lines


def _measured(
    setup: AttackSetup,
    deciding: Classify,
    images: Source,
    threats: tuple[Threat, ...],
    options: EvaluateOptions,
    watch: ProgressDisplay,
) -> tuple[Evaluation, ...]:
    if len(threats) == 1:
        found = measure(
            setup.model,
            images,
            threats[0],
            setup.attempts,
            judge=deciding,
            seed=options.seed,
            minutes=minutes_left(options.minutes),
            journal=options.journal,
            on_batch=lambda at: watch.phase(Phase.of("attack", at)),
        )
        return (found,)
    return robustness_curve(
        setup.model,
        images,
        threats,
        setup.attempts,
        judge=deciding,
        seed=options.seed,
        on_batch=lambda threat, at: watch.phase(Phase.of(f"attack at {threat.eps}", at)),
    )


@contextmanager
def fitting(batch_size: int) -> Iterator[None]:
    """Report that batches are too large where memory runs out.

    Raises:
        InputError: it did.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise InputError(
            f"batches of {batch_size} images, which do not fit into memory",
            "a batch that fits",
            f"write --batch-size {max(batch_size // 2, 1)}",
        ) from None
