"""Evaluation of a classifier in torch, or of an ONNX file as onnxruntime executes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final, overload

from harden.artefact.artefact import Artefact
from harden.artefact.attack_and_prove import AttackPlan, ExecutedFile
from harden.certificate.canonical_json import sha256_bytes
from harden.certificate.certificate_file import CERTIFICATE_FILE
from harden.certificate.schema import MODEL_FILE
from harden.data import Source, from_loader
from harden.data.align_labels import are_numbers
from harden.deployed.evidence_level import EvidenceLevel, FileAccess, attack_setup
from harden.deployed.onnx_classifier import OnnxClassifier, file_of
from harden.errors import BrokenClaimError, InputError
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, TrustCheck, Witnesses, standard
from harden.evaluation import evaluate as evaluate_classifier
from harden.evaluation.judge_outputs import check_threat
from harden.losses import Classify
from harden.models import Classifier
from harden.models.devices import check_device
from harden.statistics import Proportion
from harden.threats import Threat

AnyFile = str | os.PathLike[str] | Artefact


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FileEvaluation:
    """An evaluation of an ONNX file: onnxruntime decided every prediction.

    Attributes:
        found: the evaluation: per example and in sum, with records of the attempts, witnesses and passes.
        level: of the evidence: "A" white box, "B" transfer and queries, "C" queries alone.
        decided_by: what decided and what gave gradients, in words.
        sha256: of the file's bytes.
    """

    found: Evaluation
    level: EvidenceLevel
    decided_by: str
    sha256: str

    @property
    def status(self) -> str:
        """Either "ok", or "unreliable" where a trust check fired: then `robust` can't be trusted."""
        return self.found.status

    @property
    def clean(self) -> Proportion:
        """Accuracy on the clean images, with its exact interval."""
        return self.found.clean

    @property
    def robust(self) -> Proportion:
        """Robust accuracy: an upper bound, for an attack that found nothing proves nothing."""
        return self.found.robust

    @property
    def checks(self) -> tuple[TrustCheck, ...]:
        """The trust checks, those that fired included."""
        return self.found.checks

    @property
    def witnesses(self) -> Witnesses:
        """An input that the file classifies wrong for each example that is right when clean and broken."""
        return self.found.witnesses

    def __repr__(self) -> str:
        return f"{self.found!r}\n  evidence level {self.level}: {self.decided_by}"


@overload
def evaluate(
    model: Classifier,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt] | None = None,
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    minutes: float | None = None,
    journal: str | Path | None = None,
    on_batch: Callable[[EvaluationProgress], None] | None = None,
) -> Evaluation: ...


@overload
def evaluate(
    model: AnyFile,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt] | None = None,
    *,
    seed: int = 0,
    batch_size: int = 256,
    minutes: float | None = None,
    journal: str | Path | None = None,
    on_batch: Callable[[EvaluationProgress], None] | None = None,
    access: FileAccess | None = None,
) -> FileEvaluation: ...


def evaluate(
    model: Classifier | AnyFile,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt] | None = None,
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    minutes: float | None = None,
    journal: str | Path | None = None,
    on_batch: Callable[[EvaluationProgress], None] | None = None,
    access: FileAccess | None = None,
) -> Evaluation | FileEvaluation:
    """Measure clean accuracy and the worst case over attempts, per example, of a classifier or an ONNX file.

    clean = share of (x, y) with f(x) = y; robust = share with f(x) = y and f(x') = y for every x' that an
    attempt found in ball and box around x. No attack is trusted: each x' is projected again, checked to lie
    in ball and box, and classified by the judge. Robust accuracy is an upper bound of the true one.

    The judge of a classifier is the classifier itself or `judge`; see `harden.evaluation.evaluate`. The judge
    of a file is onnxruntime on the CPU: attacks use the gradients of the file's own graph (evidence level A);
    where the graph is not read, those of another network and scores (B), or scores alone (C); see
    `harden.deployed.evidence_level`. An artefact's file is compared with its certificate's digest first.

    Args:
        model: a Classifier; or the path of an ONNX file, an artefact's folder, or what `harden.load` returns.
        data: Examples, a pair (x, y) or a DataLoader, images (N, C, H, W) with pixels in [0, 1], labels (N,);
            see `harden.data.from_loader`.
        threat: the threat model; its eps is in units of the pixels' range [0, 1].
        attempts: the suite `standard` of `harden.evaluation` by default.
        judge: of a classifier alone: decides every prediction, images to logits.
        seed: of the random starts.
        batch_size: images at a time, where data brings no batches of its own.
        minutes: the limit of time of the attacks; the images that are finished by then make the result.
        journal: a folder, empty or missing, in which each finished batch is kept, to go on from.
        on_batch: called after every batch with the `EvaluationProgress` so far.
        access: of a file alone: what attacks may use, and a normalisation outside of the file.

    Returns:
        An `Evaluation` of a classifier, a `FileEvaluation` of a file.

    Raises:
        InputError: as `harden.evaluation.evaluate`; the file is missing, does not load, or is for other
            images or classes; access is given for a classifier, or judge for a file.
        BrokenClaimError: an artefact's file differs from its certificate's digest.
    """
    if not isinstance(model, str | os.PathLike | Artefact):
        if access is not None:
            raise InputError("access with a classifier", "a file", "leave access out, or pass a file's path")
        return evaluate_classifier(
            model,
            data,
            threat,
            attempts,
            judge=judge,
            seed=seed,
            batch_size=batch_size,
            minutes=minutes,
            journal=journal,
            on_batch=on_batch,
        )
    if judge is not None:
        raise InputError("judge with a file", "the file alone, which decides itself", "leave judge out")
    check_threat(threat)
    images, allowed = from_loader(data, batch_size), access or FileAccess()
    file = open_file(model, images, allowed)
    suite = standard() if attempts is None else tuple(attempts)
    setup = attack_setup(file, allowed, images, suite, minutes)
    plan = AttackPlan(threat, setup.attempts, seed, minutes, None if journal is None else Path(journal))
    found = ExecutedFile(setup.model, setup.judge, file.executions).attack(images, plan, on_batch)
    return FileEvaluation(found, setup.level, setup.decided_by, sha256_bytes(file.content))


def open_file(model: AnyFile, images: Source, access: FileAccess) -> OnnxClassifier:
    """Load the ONNX file that is meant for images, and compare an artefact's with its certificate's digest.

    Raises:
        InputError: there is no such file, it does not load, or it is for other images or classes.
        BrokenClaimError: it differs from the digest.
    """
    check_device(str(access.device))
    artefact, path = _located(model)
    batch = next(iter(images.epoch(None)), None)
    if batch is None:
        raise InputError("no examples", "at least one image", "check the loader's data set and drop_last")
    file = OnnxClassifier.load(path, tuple(batch.x.shape[1:]), access.mean, access.std)
    names: tuple[str, ...] = tuple(getattr(images, "classes", None) or ())
    if len(names) > file.classes or (names and len(names) < file.classes and not are_numbers(names)):
        raise file.other_classes(len(names))
    if artefact is not None:
        expected = artefact.certificate.subject[0].digest["sha256"]
        found = sha256_bytes(file.content)
        if found != expected:
            raise BrokenClaimError(
                f"{path} with sha256 {found[:16]}...",
                f"{expected[:16]}... as certified",
                "restore the file that was certified, or certify the new one",
            )
    return file


def _located(model: AnyFile) -> tuple[Artefact | None, Path]:
    if isinstance(model, Artefact):
        return model, model.folder / MODEL_FILE
    path = Path(model)
    if path.is_dir() and (path / CERTIFICATE_FILE).exists():
        return Artefact(path), path / MODEL_FILE
    return None, file_of(os.fspath(model))
