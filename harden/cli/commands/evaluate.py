"""harden evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, final

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import CHECKPOINT_FOLDER
from harden.artefact.measured_prefix import finished_part
from harden.artefact.parity.parity_gate import check_parity
from harden.artefact.parity.parity_gated_export import first_images, judge_of
from harden.artefact.runtime.session import Session
from harden.certificate.unreliable_reasons import NextCommand
from harden.cli.loading.model_spec import ModelSpec
from harden.cli.loading.test_data import for_evaluation
from harden.cli.options.command_clock import finished, minutes_left, within
from harden.cli.output.console import Watch, say, write_json
from harden.cli.output.evaluation_table import show as show_evaluation
from harden.cli.output.evaluation_table import show_curve
from harden.cli.output.extra_measures_table import show
from harden.cli.output.unreliable_exit import evaluate_words, exit_code, say_why, step_after
from harden.data import Source, Splits, from_loader
from harden.data.splits.test_sample import evaluated_images
from harden.deployed.evidence_level import MEANING, Access, Allowed, of_file
from harden.deployed.onnx_classifier import NORMALISED, Bare, is_bare
from harden.errors import ExportError, InputError
from harden.evaluation import Attempt, Evaluation, Phase, robustness_curve
from harden.evaluation import evaluate as measure
from harden.evaluation.named_suites import DEFAULT, suite_named
from harden.evaluation.natural.extra_measures import ExtraMeasures, MeasuredModel, as_decided, measured
from harden.evaluation.results.evaluation_report import EvaluationReport, curve_points
from harden.losses import Classify
from harden.models import Classifier, FastCopy
from harden.models.devices import check_device
from harden.models.out_of_memory import ran_out_of_memory
from harden.threats import Threat, from_name
from harden.training.preflight import check_fit


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, as the options say it."""

    norm: str
    eps: str
    steps: int
    restarts: int
    bfloat16: bool
    test_images: int
    batch_size: int
    seed: int
    device: str
    attacks: str = DEFAULT
    minutes: float | None = None
    journal: Path | None = None
    twin: str = ""
    black_box: bool = False

    def attempts(self) -> tuple[Attempt, ...]:
        """The attacks."""
        precision = FastCopy(bfloat16=self.bfloat16).precision
        return suite_named(self.attacks, self.steps, self.restarts, precision)

    def words(self) -> list[str]:
        """The options beside norm, eps and attacks, as they are typed; without a limit of time."""
        given: list[tuple[str, object, object]] = [
            ("--test-images", self.test_images, 0),
            ("--batch-size", self.batch_size, 256),
            ("--seed", self.seed, 0),
            ("--device", self.device, "cpu"),
            ("--twin", self.twin, ""),
        ]
        words = [word for name, value, usual in given if value != usual for word in (name, str(value))]
        return [*words, "--black-box"] if self.black_box else words

    def threat(self) -> Threat:
        """The one threat.

        Raises:
            InputError: there are several eps.
        """
        if "," in self.eps:
            raise InputError(
                f"--eps {self.eps}", "one eps", "write --eps 8/255; `harden evaluate` takes several"
            )
        return from_name(self.norm, self.eps)

    def threats(self) -> tuple[Threat, ...]:
        """One threat for each eps, as they are written.

        Raises:
            InputError: several eps with --minutes or --journal, which are for one.
        """
        found = tuple(from_name(self.norm, eps.strip()) for eps in self.eps.split(","))
        if len(found) > 1 and (self.minutes is not None or self.journal is not None):
            raise InputError(
                f"--eps {self.eps} with --minutes or --journal",
                "one eps for these",
                "evaluate each eps by itself",
            )
        return found


def evaluate(
    spec: ModelSpec, data: str, plan: Plan, json_file: Path | None, extra: ExtraMeasures | None = None
) -> int:
    """Measure a model on the test images; 1 where the number can't be trusted."""
    check_spec(spec)
    minutes_left(plan.minutes)  # one that is no number of minutes is told before anything is loaded
    extra = extra or ExtraMeasures()
    threats, attempts = plan.threats(), plan.attempts()
    check_device(plan.device)
    splits = for_evaluation(data, spec.spec)
    extra.check(splits.test.classes)
    source = from_loader(splits.test, plan.batch_size)
    with within(plan.minutes):
        access = _judged(spec, splits, source, plan, attempts)
    model, judge = access.model, access.judge
    images = from_loader(evaluated_images(splits, plan.test_images), plan.batch_size)
    decided, deciding = as_decided(extra, model, judge)
    with fitting(plan.batch_size), Watch() as watch:
        curve = _measured(decided, images, threats, access.attempts, deciding, plan, watch)
        found = curve[-1]
        # Images that time did not suffice for are in none of the numbers.
        subject = MeasuredModel(judge, deciding, finished_part(images, found)[0], plan.seed)
        more = finished(plan.minutes, partial(measured, extra, subject, found, watch.phase))
        late = more is None
        if more is None:
            more = measured(replace(extra, calibration=False, corruptions=False), subject, found, watch.phase)
    title = f"{splits.name} test, {threats[-1]}, decided by {access.by}"
    trusted = all(one.status == "ok" for one in curve)
    show_evaluation(found, title, splits.test.classes, trusted=trusted)
    for line in _remarks(access, found, late=late, bare=is_bare(spec.spec)):
        say(line)
    if len(curve) > 1:
        show_curve(curve, f"{splits.name} test, {plan.norm}")
    step = _say_why(spec, data, plan, extra, curve)
    show(more, splits.test.classes)
    told = {"evidence": access.level, **_as_whole(curve, step), **more.as_json()}
    report = EvaluationReport.of(found, access.by, splits.test.classes, plan.seed, **told)
    write_json(json_file, report.model_dump(mode="json", exclude_unset=True))
    return exit_code(report.status)


def _say_why(
    spec: ModelSpec, data: str, plan: Plan, extra: ExtraMeasures, curve: tuple[Evaluation, ...]
) -> NextCommand | None:
    """Print the reasons of each eps, and give what to run next."""
    words = evaluate_words(spec.words(), data, plan.norm, plan.eps)
    words += [*plan.words(), *extra.words()]
    checks = [check for one in curve for check in one.checks]
    step = step_after(words, checks, plan.attacks, plan.steps, plan.restarts)
    for one in curve:
        say_why(one.checks, None, str(one.threat.eps) if len(curve) > 1 else "")
    say_why((), step)
    return step


def _as_whole(curve: tuple[Evaluation, ...], step: NextCommand | None) -> dict[str, Any]:
    """What the JSON says of all eps together: without trust in one of them there is no headline."""
    whole: dict[str, Any] = {"next": None if step is None else step.command}
    if len(curve) > 1:
        whole["curve"] = curve_points(curve)
    return whole


def _remarks(access: Access, found: Evaluation, *, late: bool, bare: bool) -> list[str]:
    """What else should be known of an evaluation, a line each."""
    lines = [f"evidence level {access.level}: {MEANING[access.level]}"]
    if bare and found.caution():
        lines.append(NORMALISED)
    if late:
        lines.append("time was up: what else was asked for was not measured")
    return lines


def _judged(
    spec: ModelSpec, splits: Splits, source: Source, plan: Plan, attempts: tuple[Attempt, ...]
) -> Access:
    """The network that gives gradients, what decides, and the attacks that are possible."""
    device = check_device(plan.device)
    if is_bare(spec.spec):
        return _judged_file(spec, splits, source, plan, attempts)
    if plan.twin or plan.black_box:
        raise InputError(
            f"--twin or --black-box for {spec.spec}", "an ONNX file by itself", "leave these options out"
        )
    model = spec.build(splits, plan.seed).to(device)
    check_fit(model, from_loader(splits.test, plan.batch_size), learns=False)
    if spec.folder is None:
        return Access(model, model.logits, "torch", attempts, "A")
    session = Artefact(spec.folder).session
    _check_twin(spec.folder, model, session, source)
    return Access(model, judge_of(session), f"{spec.folder}/model.onnx in onnxruntime", attempts, "A")


def _judged_file(
    spec: ModelSpec, splits: Splits, source: Source, plan: Plan, attempts: tuple[Attempt, ...]
) -> Access:
    """As `_judged`, of an ONNX file; with --twin the options for models are those of the twin."""
    own = [option for option in spec.given() if option not in ("--mean", "--std")]
    if own and not plan.twin:
        raise InputError(
            f"{spec.spec} with {' and '.join(own)}",
            "a file alone, which has its own",
            "leave these options out, or name the model that they are for with --twin",
        )
    device = check_device(plan.device)
    mean, std = (None, None) if plan.twin else (spec.mean, spec.std)
    file = Bare.of(Path(spec.spec), splits, mean, std)
    twin = replace(spec, spec=plan.twin).build(splits).to(device) if plan.twin else None
    return of_file(file, Allowed(twin, plan.black_box, plan.minutes), source, attempts, device)


def _measured(
    model: Classifier,
    images: Source,
    threats: tuple[Threat, ...],
    attempts: tuple[Attempt, ...],
    judge: Classify,
    plan: Plan,
    watch: Watch,
) -> tuple[Evaluation, ...]:
    if len(threats) == 1:
        found = measure(
            model,
            images,
            threats[0],
            attempts,
            judge=judge,
            seed=plan.seed,
            minutes=minutes_left(plan.minutes),
            journal=plan.journal,
            on_batch=lambda at: watch.phase(Phase.of("attack", at)),
        )
        return (found,)
    return robustness_curve(
        model,
        images,
        threats,
        attempts,
        judge=judge,
        seed=plan.seed,
        on_batch=lambda threat, at: watch.phase(Phase.of(f"attack at {threat.eps}", at)),
    )


@contextmanager
def fitting(batch_size: int) -> Iterator[None]:
    """Say that batches are too large where memory runs out.

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


def check_spec(spec: ModelSpec) -> None:
    """Say that a folder is missing where a path was written, before anything is loaded.

    Raises:
        InputError: it is.
    """
    path = Path(spec.spec)
    if ":" not in spec.spec and len(path.parts) > 1 and not path.exists() and not is_bare(spec.spec):
        raise InputError(
            f"model {spec.spec!r}, where no folder is",
            "a run's folder, or small, torchvision:NAME or module:function",
            "name the --out of a `harden run`",
        )


def _check_twin(folder: Path, model: Classifier, session: Session, source: Source) -> None:
    """Refuse gradients of one network with verdicts of another: the number would flatter."""
    try:
        check_parity(model, session, first_images(source)[0])
    except ExportError as error:
        seen = f"{folder}/{CHECKPOINT_FOLDER} is not the network of {folder}/model.onnx ({error.seen})"
        raise InputError(
            seen, "the weights that the file was exported from", "run or export again"
        ) from error
