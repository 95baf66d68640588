"""harden certify FILE.onnx --data ...: what is proved of each image, beside what attacks break."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from harden.artefact.runtime.executed_programs import BUILD
from harden.bounds import Branching
from harden.certificate.canonical_json import sha256_bytes
from harden.cli.commands.evaluate import fitting
from harden.cli.loading.test_data import for_evaluation
from harden.cli.output.console import Watch, print_warning, say, say_table, write_json
from harden.cli.output.exit_codes import GOOD
from harden.cli.output.unreliable_exit import evaluate_words, say_why, step_after
from harden.data import Source, Splits, from_loader
from harden.data.dataset_digest import digest
from harden.data.splits.test_sample import evaluated_images
from harden.deployed.onnx_classifier import Bare, file_of
from harden.description import describe
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, Phase, evaluate
from harden.evaluation.named_suites import RESTARTS, STEPS, suite_named
from harden.evaluation.proofs.methods import method_named
from harden.evaluation.proofs.proof_journal import ProofJournal
from harden.evaluation.proofs.proof_report import ProofReport
from harden.evaluation.proofs.prove import EvaluatedImages, ProofResult, RadiusSearch, prove
from harden.models import Classifier
from harden.models.devices import check_device
from harden.system.folder_lock import held_folder
from harden.system.safe_folders import check_inner
from harden.threats import Threat, from_name

_ATTACK_JOURNAL, _PROOF_JOURNAL = "attack", "proofs.jsonl"
ATTACK_SHARE = 0.4
"""Of --minutes, for attacks."""
LEAST_MINUTES = 1e-9


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What to prove, as the options say it."""

    norm: str
    eps: str
    method: str
    radius_steps: int
    attacks: str
    minutes: float | None
    journal: Path | None
    test_images: int
    batch_size: int
    seed: int
    device: str = "cpu"

    def search(self, spent: float = 0.0) -> RadiusSearch:
        """How proofs are looked for, in the time that is left after so many seconds."""
        method, minutes = method_named(self.method or "alpha-crown"), self.minutes
        if minutes is not None:
            minutes = max(minutes - spent / 60, LEAST_MINUTES)
            if method.branching is not None:  # cut until time is up, into however many parts
                method = replace(method, branching=Branching(seconds=60 * minutes, parts=None))
        return RadiusSearch(method, self.radius_steps, minutes)


def certify(spec: str, data: str, plan: Plan, json_file: Path | None) -> int:
    """Attack a file, prove what stands, and print both."""
    began, path, threat = time.monotonic(), file_of(spec), from_name(plan.norm, plan.eps)
    _check_minutes(plan.minutes)
    device = check_device(plan.device)
    attempts = suite_named(plan.attacks, STEPS, RESTARTS)
    splits = for_evaluation(data, spec)
    images = from_loader(evaluated_images(splits, plan.test_images), plan.batch_size)
    file = Bare.of(path, splits)
    _, model = file.reading(from_loader(splits.test, plan.batch_size))
    executed = file.executions(device)
    model = model.to(device)
    sha256 = sha256_bytes(file.content)
    # Two processes would write one journal's lines into another's.
    held = nullcontext() if plan.journal is None else held_folder(plan.journal)
    with held, fitting(plan.batch_size), Watch() as watch:
        found = _attacked(file, model, images, (threat, attempts), plan, watch)
        proved = prove(
            executed,
            EvaluatedImages(images, found, file.arrangement),
            plan.search(time.monotonic() - began),
            device=device,
            journal=_journal(plan, sha256, images, threat),
            on_proof=lambda at: watch.phase(Phase("prove", at.done, at.total)),
        )
    show(proved, splits, path)
    words = evaluate_words([str(path)], data, plan.norm, plan.eps)
    words += ["--test-images", str(plan.test_images)] if plan.test_images else []
    step = step_after(words, found.checks, plan.attacks)
    say_why(found.checks, step)
    report = ProofReport.of(proved, sha256, plan.seed, None if step is None else step.command)
    write_json(json_file, report.model_dump(mode="json"))
    return GOOD  # what is proved holds, whether or not attacks are trusted


def _attacked(
    file: Bare,
    model: Classifier,
    images: Source,
    how: tuple[Threat, tuple[Attempt, ...]],
    plan: Plan,
    watch: Watch,
) -> Evaluation:
    """Attack all images, or as many as a share of --minutes suffices for."""
    return evaluate(
        model,
        images,
        how[0],
        how[1],
        judge=file.judge,
        seed=plan.seed,
        minutes=None if plan.minutes is None else ATTACK_SHARE * plan.minutes,
        journal=None if plan.journal is None else check_inner(plan.journal, _ATTACK_JOURNAL),
        on_batch=lambda at: watch.phase(Phase.of("attack", at)),
    )


def show(proved: ProofResult, splits: Splits, path: Path) -> None:
    """Print the bracket, the verdicts and the radii."""
    found = proved.found
    low, high = found.threat.bounds
    robust = str(found.robust) if found.status == "ok" else "unreliable"
    rows = [
        ("clean", str(found.clean), ""),
        ("certified", str(proved.at_least(proved.top)), "at least: proved"),
        ("robust", robust, "at most: what attacks left standing"),
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
    """Say what there was no time for."""
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


def _check_minutes(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < math.inf:
        raise InputError(f"--minutes {minutes:g}", "a positive number", "write --minutes 5")


def _journal(plan: Plan, sha256: str, images: Source, threat: Threat) -> ProofJournal | None:
    if plan.journal is None:
        return None
    facts = {
        "runtime": BUILD,
        "file": sha256,
        "images": digest(images.epoch(None)),
        "threat": describe(threat),
        "search": describe(replace(plan, minutes=None).search()),
    }
    return ProofJournal(plan.journal / _PROOF_JOURNAL, {**facts, "attacks": plan.attacks, "seed": plan.seed})
