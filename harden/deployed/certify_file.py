"""Certification of an ONNX file: attacks on each image, then proofs of those that no attack broke."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final, final

import torch

from harden.artefact.attack_and_prove import AttackPlan, ExecutedFile, OnPhase, no_report
from harden.artefact.runtime.executed_programs import BUILD
from harden.bounds import Branching
from harden.certificate.canonical_json import sha256_bytes
from harden.data import Source, from_loader
from harden.data.dataset_digest import digest
from harden.deployed.evaluate_file import AnyFile, open_file
from harden.deployed.evidence_level import FileAccess
from harden.deployed.onnx_classifier import OnnxClassifier
from harden.description import JSON, describe
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, Phase, quick
from harden.evaluation.judge_outputs import check_threat
from harden.evaluation.proofs.proof_journal import ProofJournal
from harden.evaluation.proofs.prove import ProofResult, RadiusSearch
from harden.models.devices import check_device
from harden.statistics import Proportion
from harden.system.folder_lock import held_folder
from harden.system.safe_folders import check_inner
from harden.threats import Threat

ATTACK_SHARE: Final = 0.4
"""Of a limit of time, for attacks."""
LEAST_MINUTES: Final = 1e-9
_ATTACK_JOURNAL, _PROOF_JOURNAL = "attack", "proofs.jsonl"


@final
@dataclass(frozen=True, slots=True, eq=False)
class FileProofs:
    """Verdicts of an ONNX file on images: [certified, robust] brackets its true robust accuracy.

    Attributes:
        proved: the evaluation by attacks, and the largest proved radius of each image.
        sha256: of the file's bytes.
    """

    proved: ProofResult
    sha256: str

    @property
    def found(self) -> Evaluation:
        """The evaluation by attacks."""
        return self.proved.found

    @property
    def status(self) -> str:
        """Either "ok", or "unreliable" where a trust check of the attacks fired; proofs hold all the same."""
        return self.found.status

    @property
    def clean(self) -> Proportion:
        """Accuracy on the clean images, with its exact interval."""
        return self.found.clean

    @property
    def certified(self) -> Proportion:
        """Certified accuracy at the threat's eps: a lower bound, by proof."""
        return self.proved.at_least(self.proved.top)

    @property
    def robust(self) -> Proportion:
        """Robust accuracy at the threat's eps: an upper bound, by attack."""
        return self.found.robust

    @property
    def verdicts(self) -> list[str]:
        """Of each image, in order: "certified", "falsified" (broken, or wrong as it is) or "unknown"."""
        return self.proved.verdicts

    @property
    def radii(self) -> list[Fraction]:
        """The largest proved radius of each image, 0 to eps, in units of the pixels' range [0, 1]."""
        return self.proved.radii

    @property
    def complete(self) -> bool:
        """Whether time sufficed: every image was attacked, and every search ended by itself."""
        return self.proved.complete


def certify(
    file: AnyFile,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt] | None = None,
    *,
    search: RadiusSearch | None = None,
    seed: int = 0,
    batch_size: int = 256,
    minutes: float | None = None,
    device: torch.device | str = "cpu",
    journal: str | Path | None = None,
    on_phase: OnPhase | None = None,
) -> FileProofs:
    """Attack an ONNX file on each image, then prove what no attack broke.

    An image (x, y) is certified where max over k != y of z_k(x') - z_y(x') < 0 is proved for all x' in ball
    and box around x, z being the logits that onnxruntime computes for the file in float32, sums in any order.
    The limits of such a proof are `harden.evaluation.proofs.proof_report.LIMITS`.

    Args:
        file: the path of an ONNX file, an artefact's folder, or what `harden.load` returns.
        data: Examples, a pair (x, y) or a DataLoader, images (N, C, H, W) with pixels in [0, 1], labels (N,);
            see `harden.data.from_loader`.
        threat: the threat model; its eps is in units of the pixels' range [0, 1].
        attempts: the attacks; the suite `quick` of `harden.evaluation` by default.
        search: the method of proof, and the radii; by default alpha-CROWN, sixteenths of eps.
        seed: of the attacks' random starts.
        batch_size: images at a time, where data brings no batches of its own.
        minutes: the limit of time, of which attacks may take 0.4; None for no limit.
        device: of gradients and bounds; onnxruntime decides on the CPU.
        journal: a folder, empty or missing, that keeps what is finished, to go on from.
        on_phase: called with the `Phase` as the work goes on.

    Raises:
        InputError: the file is missing, does not load, is for other images or classes, or has an operation
            without a bound; the data are unfit; time did not suffice to attack one image.
        BrokenClaimError: an artefact's file differs from its certificate's digest.
    """
    began = time.monotonic()
    check_threat(threat)
    images, where = from_loader(data, batch_size), check_device(str(device))
    onnx = open_file(file, images, FileAccess(device=where))
    place = None if journal is None else Path(journal)
    attack = AttackPlan(threat, quick() if attempts is None else tuple(attempts), seed, minutes, place)
    plan = CertifyPlan(attack, search or RadiusSearch(), images, device=where, began=began)
    return attack_then_prove(onnx, images, plan, on_phase or no_report)


@final
@dataclass(frozen=True, slots=True, eq=False)
class CertifyPlan:
    """The settings of a certification.

    Args:
        attack: threat, attempts, seed, and the limit of time and the journal of all.
        search: of the radii; where there is a limit of time, it is that of what the attacks leave.
        compared: images on which the graph's reading is compared with onnxruntime.
        suite: the name of the attempts in the journal; their descriptions by default.
        device: of gradients and bounds.
        began: `time.monotonic()` at which the limit of time begins; when the attacks begin, by default.

    Raises:
        InputError: the limit of time is not positive.
    """

    attack: AttackPlan
    search: RadiusSearch
    compared: Source
    suite: str = ""
    device: torch.device | None = None
    began: float | None = None

    def __post_init__(self) -> None:
        minutes = self.attack.minutes
        if minutes is not None and not 0 < minutes < math.inf:
            raise InputError(
                f"--minutes {minutes:g}", "a positive number", "write --minutes 5 (in Python minutes=5)"
            )

    @property
    def attack_alone(self) -> AttackPlan:
        """The attacks with their share of the time, and their part of the journal."""
        minutes, journal = self.attack.minutes, self.attack.journal
        return replace(
            self.attack,
            minutes=None if minutes is None else ATTACK_SHARE * minutes,
            journal=None if journal is None else check_inner(journal, _ATTACK_JOURNAL),
        )

    def search_after(self, seconds: float) -> RadiusSearch:
        """The search in the time that is left after so many seconds."""
        if self.attack.minutes is None:
            return self.search
        minutes, method = max(self.attack.minutes - seconds / 60, LEAST_MINUTES), self.search.method
        if method.branching is not None:  # cut until time is up, into however many parts
            method = replace(method, branching=Branching(seconds=60 * minutes, parts=None))
        return replace(self.search, method=method, minutes=minutes)

    def proof_journal(self, sha256: str, images: Source) -> ProofJournal | None:
        """The journal of the proofs, with all that they depend on."""
        if self.attack.journal is None:
            return None
        attacks: JSON = {each.name: each.describe() for each in self.attack.attempts}
        facts: dict[str, JSON] = {
            "runtime": BUILD,
            "file": sha256,
            "images": digest(images.epoch(None)),
            "threat": describe(self.attack.threat),
            "search": describe(replace(self.search, minutes=None)),
            "attacks": self.suite or attacks,
            "seed": self.attack.seed,
        }
        return ProofJournal(self.attack.journal / _PROOF_JOURNAL, facts)


def attack_then_prove(
    file: OnnxClassifier, images: Source, plan: CertifyPlan, on_phase: OnPhase = no_report
) -> FileProofs:
    """Attack a file, then search for proofs in the time that is left.

    Raises:
        InputError: the graph's reading computes something else than onnxruntime; an operation has no bound.
    """
    began = time.monotonic() if plan.began is None else plan.began
    _, model = file.reading(plan.compared)
    executions = file.executions(plan.device or "cpu")  # before the attacks: an operation may have no bound
    model = model.to(plan.device or "cpu")
    subject = ExecutedFile(model, file.judge, lambda: executions, file.arrangement, plan.device)
    sha256, journal = sha256_bytes(file.content), plan.attack.journal
    # Two processes would write one journal's lines into another's.
    with nullcontext() if journal is None else held_folder(journal):
        found = subject.attack(images, plan.attack_alone, partial(_report_attack, on_phase))
        search = plan.search_after(time.monotonic() - began)
        proofs = plan.proof_journal(sha256, images)
        proved = subject.prove(images, found, search, on_phase, proofs)
    return FileProofs(proved, sha256)


def _report_attack(on_phase: OnPhase, at: EvaluationProgress) -> None:
    on_phase(Phase.of("attack", at))
