"""harden certify FILE.onnx --data ...: what is proved of each image, beside what attacks break."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from rich.table import Table

from harden.artefact.executions import BUILD
from harden.cli.bare import Bare, file_of
from harden.cli.console import Watch, console, write_json
from harden.cli.evaluate import fitting
from harden.cli.proving import method_named
from harden.cli.sampling import evaluated_images
from harden.cli.suites import RESTARTS, STEPS, suite_named
from harden.data import Splits, from_loader, load
from harden.data.digests import digest
from harden.description import describe
from harden.evaluation import Evaluation, Phase, evaluate
from harden.evaluation.proof_journal import ProofJournal
from harden.evaluation.proof_report import ProofReport
from harden.evaluation.proofs import Proved, Search, prove
from harden.threats import Threat, from_name

_ATTACK_JOURNAL, _PROOF_JOURNAL = "attack", "proofs.jsonl"


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

    def search(self) -> Search:
        """How proofs are looked for."""
        return Search(method_named(self.method or "alpha-crown"), self.radius_steps, self.minutes)


def certify(spec: str, data: str, plan: Plan, json_file: Path | None) -> int:
    """Attack a file, prove what stands, and print both."""
    path, search, threat = file_of(spec), plan.search(), from_name(plan.norm, plan.eps)
    attempts = suite_named(plan.attacks, STEPS, RESTARTS)
    splits = load(data)
    images = from_loader(evaluated_images(splits, plan.test_images), plan.batch_size)
    file = Bare.of(path, splits)
    _, model = file.reading(from_loader(splits.test, plan.batch_size))
    executed = file.executions()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    attack_journal = None if plan.journal is None else plan.journal / _ATTACK_JOURNAL
    with fitting(plan.batch_size), Watch() as watch:
        found = evaluate(
            model,
            images,
            threat,
            attempts,
            judge=file.judge,
            seed=plan.seed,
            journal=attack_journal,
            on_batch=lambda at: watch.phase(Phase.of("attack", at)),
        )
        proved = prove(
            executed,
            images,
            found,
            search,
            arrange=file.arrangement,
            journal=_journal(plan, sha256, digest(images.epoch(None)), threat),
            on_proof=lambda at: watch.phase(Phase("prove", at.done, at.total)),
        )
    show(proved, splits, path)
    write_json(json_file, ProofReport.of(proved, sha256, plan.seed).model_dump(mode="json"))
    return 0


def show(proved: Proved, splits: Splits, path: Path) -> None:
    """Print the bracket, the verdicts and the radii."""
    found = proved.found
    low, high = found.threat.bounds
    table = Table(
        title=f"{splits.name} test, {found.threat}, {path} in float32",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("", "accuracy", ""):
        table.add_column(name)
    table.add_row("clean", str(found.clean), "")
    certified = proved.at_least(proved.top)
    table.add_row("certified", str(certified), "at least: proved")
    robust = str(found.robust) if found.status == "ok" else "unreliable"
    table.add_row("robust", robust, "at most: what attacks left standing")
    console.print(table)
    verdicts = proved.verdicts
    counts = ", ".join(f"{verdicts.count(name):,} {name}" for name in ("certified", "falsified", "unknown"))
    console.print(f"{counts}; {proved.search.method}; {proved.seconds:.1f} s", soft_wrap=True)
    console.print(f"boxes are clipped to the data's domain, [{low:g}, {high:g}]", soft_wrap=True)
    if proved.disagreement is not None:
        console.print(f"nothing is proved: {proved.disagreement}", soft_wrap=True)
    _show_radii(proved)
    _show_time(proved.left, found)


def _show_radii(proved: Proved) -> None:
    if not proved.search.steps:
        return
    table = Table(title="certified accuracy over the radius", title_justify="left", box=None, pad_edge=False)
    for name in ("radius", "certified, at least"):
        table.add_column(name)
    every = max(1, proved.top // 4)
    for eps, share in proved.curve[every - 1 :: every]:
        table.add_row(str(eps), str(share))
    console.print(table)


def _show_time(left: int, found: Evaluation) -> None:
    if left:
        console.print(
            f"time was up: {left:,} of {len(found.labels):,} images were not tried, and are unknown",
            soft_wrap=True,
        )


def _journal(plan: Plan, sha256: str, images: str, threat: Threat) -> ProofJournal | None:
    if plan.journal is None:
        return None
    search = describe(replace(plan.search(), minutes=None))
    facts = {
        "runtime": BUILD,
        "file": sha256,
        "images": images,
        "threat": describe(threat),
        "search": search,
    }
    return ProofJournal(plan.journal / _PROOF_JOURNAL, {**facts, "attacks": plan.attacks, "seed": plan.seed})
