"""`harden certify FILE.onnx --data SPEC`: verdicts of images, by proof and by attack."""

from __future__ import annotations

import time
from pathlib import Path

from harden.artefact.attack_and_prove import AttackPlan
from harden.cli.commands.certify_property import certify_property
from harden.cli.commands.evaluate import fitting
from harden.cli.loading.evaluation_data import for_evaluation
from harden.cli.options.certify_options import CertifyOptions
from harden.cli.output.console import ProgressDisplay, print_warning, say, say_table, write_json
from harden.cli.output.exit_codes import GOOD
from harden.cli.output.unreliable_exit import evaluate_words, say_why, step_after
from harden.data import Splits, from_loader
from harden.data.splits.evaluation_sample import evaluated_images
from harden.deployed.certify_file import CertifyPlan, attack_then_prove
from harden.deployed.onnx_classifier import OnnxClassifier, file_of
from harden.errors import InputError
from harden.evaluation.proofs.methods import method_named
from harden.evaluation.proofs.proof_report import ProofReport
from harden.evaluation.proofs.prove import ProofResult, RadiusSearch
from harden.evaluation.suite_lookup import RESTARTS, STEPS, suite_of
from harden.models.devices import check_device
from harden.threats import from_name


def certify(options: CertifyOptions) -> int:
    """Certify images, or decide a property, of a file; print the result."""
    if bool(options.data) == (options.vnnlib is not None):
        raise InputError(
            "both --data and --vnnlib" if options.data else "neither --data nor --vnnlib",
            "one of them",
            "write --data npz:FILE for images, or --vnnlib FILE for a property",
        )
    if options.vnnlib is not None:
        return certify_property(options, options.vnnlib)
    if options.witness is not None:
        raise InputError("--witness for images", "a --vnnlib property", "write --json for images")
    return _certify_images(options)


def _certify_images(options: CertifyOptions) -> int:
    began, path = time.monotonic(), file_of(options.spec)
    attack = AttackPlan(
        from_name(options.norm, options.eps),
        suite_of(options.attacks, STEPS, RESTARTS),
        options.seed,
        options.minutes,
        options.journal,
    )
    search = RadiusSearch(method_named(options.method or "alpha-crown"), options.radius_steps)
    device = check_device(options.device)
    splits = for_evaluation(options.data, options.spec)
    images = from_loader(evaluated_images(splits, options.test_images), options.batch_size)
    compared = from_loader(splits.test, options.batch_size)
    plan = CertifyPlan(attack, search, compared, options.attacks, device, began)
    file = OnnxClassifier.of(path, splits)
    with fitting(options.batch_size), ProgressDisplay() as watch:
        result = attack_then_prove(file, images, plan, watch.phase)
    _show(result.proved, splits, path)
    words = evaluate_words([str(path)], options.data, options.norm, options.eps)
    words += ["--test-images", str(options.test_images)] if options.test_images else []
    step = step_after(words, result.found.checks, options.attacks)
    say_why(result.found.checks, step)
    command = None if step is None else step.command
    report = ProofReport.of(result.proved, result.sha256, options.seed, command)
    write_json(options.json_file, report.model_dump(mode="json"))
    return GOOD  # proofs hold whether or not attacks are trusted


def _show(proved: ProofResult, splits: Splits, path: Path) -> None:
    """Print the bracket, the verdicts and the radii."""
    found = proved.found
    low, high = found.threat.bounds
    robust = str(found.robust) if found.status == "ok" else "unreliable"
    rows = [
        ("clean", str(found.clean), ""),
        ("certified", str(proved.at_least(proved.top)), "at least: proved"),
        ("robust", robust, "at most: no attack broke"),
    ]
    title = f"{splits.name} test, {found.threat}, {path} in float32"
    say_table(("", "accuracy", ""), rows, title=title)
    if caution := found.caution(splits.test.classes):
        print_warning(caution)
    verdicts = proved.verdicts
    counts = ", ".join(f"{verdicts.count(name):,} {name}" for name in ("certified", "falsified", "unknown"))
    say(f"{counts}; {proved.search.method}; {proved.seconds:.1f} s")
    say(f"boxes are clipped to the data's domain, [{low:g}, {high:g}]")
    if proved.disagreement is not None:
        say(f"nothing is proved: {proved.disagreement}")
    _show_radii(proved)
    _show_time(proved)


def _show_radii(proved: ProofResult) -> None:
    if not proved.search.steps:
        return
    every = max(1, proved.top // 4)
    rows = [(str(eps), str(share)) for eps, share in proved.curve[every - 1 :: every]]
    say_table(("radius", "certified, at least"), rows, title="certified accuracy over the radius")


def _show_time(proved: ProofResult) -> None:
    """Print what time did not suffice for."""
    if proved.complete:
        return
    found, said = proved.found, []
    for count, what in (
        (found.left, "were not attacked, and are in no number"),
        (proved.untried, "were not tried, and are unknown"),
        (proved.stopped, "were still being searched, and are unknown"),
        (proved.unsettled - proved.left, "might be proved at a larger radius than is given"),
    ):
        if count:
            said.append(f"{count:,} of {len(found.labels) + found.left:,} images {what}")
    say(f"time was up: {'; '.join(said)}")
