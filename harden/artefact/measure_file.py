"""Measurement of an exported file, and its record in the certificate's schema."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import final

import torch

from harden.artefact import to_certificate
from harden.artefact.attack_and_prove import AttackPlan, ExecutedFile, OnPhase
from harden.artefact.parity.parity_gate import Parity
from harden.artefact.parity.parity_gated_export import exported, first_images, judge_of
from harden.artefact.provenance import Origin, provenance
from harden.artefact.runtime.executed_programs import executions
from harden.artefact.runtime.session import Session
from harden.artefact.time_limited_certificate import attack_share, finished_part, in_time
from harden.artefact.witness_gallery import gallery
from harden.artefact.write_evidence import write_evidence
from harden.attacks import PGD
from harden.certificate import schema
from harden.data import Source
from harden.data.dataset_digest import digest
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, Phase, accuracy_curve, evaluate, standard
from harden.evaluation.proofs.prove import ProofResult, RadiusSearch
from harden.evaluation.sweeps.accuracy_curve import AccuracyCurve
from harden.evaluation.time_limit import TimeLimit
from harden.losses import Classify, Margin
from harden.models import Classifier
from harden.threats import Threat

_log = logging.getLogger("harden")

CURVE_ATTEMPT = Attempt("pgd-20-margin", PGD(steps=20, stop_early=True), Margin)

TIME_WAS_UP = "time was up"
"""The end of the split's name where it is of the first images alone."""


@final
@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a certificate: what is measured on the exported file.

    Args:
        threat: the threat model of the claim.
        attempts: the suite `standard` by default.
        before: a model to compare with the exported one, under the same attacks on the same images.
        before_name: its name in the certificate.
        origin: where the exported model came from.
        seed: of the attacks' random starts.
        split: what the evaluated images are, in words.
        unseen: whether they were compared with the training images and none is equal to one.
        batch_size: images at a time, where the data bring no batches of their own.
        search: of the radii to prove; None for no proofs.
        minutes: how long attacks, curve and comparison may take; None for no limit. What is finished by then
            is certified, the first so many images, and `split` says so. Proofs have a limit of their own.
    """

    threat: Threat
    attempts: Sequence[Attempt] = field(default_factory=standard)
    before: Classifier | None = None
    before_name: str = "before hardening"
    origin: Origin = field(default_factory=Origin)
    seed: int = 0
    split: str = "as given"
    unseen: bool = False
    batch_size: int = 256
    search: RadiusSearch | None = None
    minutes: float | None = None


def predicate(
    model: Classifier,
    session: Session,
    parity: Parity,
    source: Source,
    claim: Claim,
    folder: Path,
    report: OnPhase,
) -> schema.Predicate:
    """Attack the file, compute its curve, comparison and proofs, and record them; writes evidence.npz."""
    judge, pace, whole = judge_of(session), TimeLimit(claim.minutes), len(source)
    share = attack_share(claim.attempts, session.classes, compared=claim.before is not None)
    file = ExecutedFile(model, judge, partial(executions, folder / schema.MODEL_FILE))
    minutes = None if claim.minutes is None else share * claim.minutes
    plan = AttackPlan(claim.threat, claim.attempts, claim.seed, minutes)
    found = file.attack(source, plan, lambda at: report(Phase.of("attack the file", at)))
    names = class_names(source, session.classes)
    source, found = finished_part(source, found)
    if len(found.labels) < whole:
        said = f"{claim.split}, the first {len(found.labels):,} of {whole:,} images: {TIME_WAS_UP}"
        claim = replace(claim, split=said)
    curve = in_time(pace, "curve over eps", partial(_curve, model, source, found, judge, claim, report))
    comparison = in_time(pace, "comparison", partial(_comparison, source, claim, report))
    found = found if curve is None else curve.found
    proved = _proved(file, source, found, claim, report)
    measurement = FileMeasurement(source, found, names, curve, comparison, proved)
    return record(measurement, claim, parity, folder, model.device)


@final
@dataclass(frozen=True, slots=True, eq=False)
class FileMeasurement:
    """The measurements of a file that a certificate records.

    Attributes:
        source: the evaluated images.
        found: the evaluation.
        classes: their names, by label, one for each logit.
        curve: accuracy over eps; None where there was none.
        comparison: another model under the same attacks; None for none.
        proved: proofs; None for none.
    """

    source: Source
    found: Evaluation
    classes: tuple[str, ...]
    curve: AccuracyCurve | None = None
    comparison: schema.ComparisonRecord | None = None
    proved: ProofResult | None = None


def record(
    measurement: FileMeasurement, claim: Claim, parity: Parity, folder: Path, device: torch.device
) -> schema.Predicate:
    """Record measurements in the certificate's schema; evidence.npz is written into the folder."""
    found, curve, proved = measurement.found, measurement.curve, measurement.proved
    names = measurement.classes
    return schema.Predicate(
        status="ok" if found.status == "ok" else "unreliable",
        threat=to_certificate.threat_record(claim.threat),
        data=_data_record(measurement.source, found, names, claim),
        bracket=to_certificate.bracket(found, proved),
        clean=to_certificate.proportion(found.clean),
        verdicts=to_certificate.verdicts(found, proved),
        comparison=measurement.comparison,
        attacks=to_certificate.attacks(found),
        classes=to_certificate.classes(found, names),
        checks=to_certificate.checks(found),
        curve=None if curve is None else to_certificate.curve(CURVE_ATTEMPT.name, curve.points),
        proof=to_certificate.proof(proved),
        parity=schema.ParityRecord(
            tolerance=parity.tolerance,
            max_error=parity.max_error,
            batches=parity.batches,
            reference=parity.reference,
        ),
        evidence=write_evidence(folder / schema.EVIDENCE_FILE, found.witnesses),
        provenance=provenance(claim.origin, found.passes, found.seconds, device),
        bits=to_certificate.bits(found, proved),
        history=claim.origin.history,
        gallery=gallery(found, names),
    )


def _curve(
    model: Classifier, source: Source, found: Evaluation, judge: Classify, claim: Claim, report: OnPhase
) -> AccuracyCurve:
    return accuracy_curve(
        model,
        source,
        found,
        CURVE_ATTEMPT,
        judge=judge,
        seed=claim.seed,
        on_batch=lambda at: report(Phase.of("accuracy over eps", at)),
    )


def _proved(
    file: ExecutedFile, source: Source, found: Evaluation, claim: Claim, report: OnPhase
) -> ProofResult | None:
    """Prove radii where a search is given; without bounds, or where the runtime leaves them, warn."""
    if claim.search is None:
        return None
    try:
        proved = file.prove(source, found, claim.search, report)
    except InputError as error:
        _log.warning("no proof was tried: %s", error)
        return None
    if proved.disagreement is not None:
        _log.warning("nothing is proved: %s", proved.disagreement)
        return None
    return proved


def _comparison(source: Source, claim: Claim, report: OnPhase) -> schema.ComparisonRecord | None:
    if claim.before is None:
        return None
    image, y = first_images(source)
    _, session, _ = exported(claim.before, image, y, claim.threat)
    found = evaluate(
        claim.before,
        source,
        claim.threat,
        claim.attempts,
        judge=judge_of(session),
        seed=claim.seed,
        on_batch=lambda at: report(Phase.of(f"attack {claim.before_name}", at)),
    )
    for check in found.fired:
        _log.warning("%s is unreliable: %s", claim.before_name, check.reason)
    return schema.ComparisonRecord(
        name=claim.before_name,
        status="ok" if found.status == "ok" else "unreliable",
        clean=to_certificate.proportion(found.clean),
        robust=to_certificate.proportion(found.robust),
    )


def class_names(source: Source, logits: int) -> tuple[str, ...]:
    """The names that the data bring, then numbers for the classes that only the model knows.

    Raises:
        InputError: the data have more classes than there are logits.
    """
    names: tuple[str, ...] = tuple(getattr(source, "classes", None) or ())
    if len(names) > logits:
        raise InputError(
            f"{len(names)} classes in the data and {logits} logits",
            "a logit for each class",
            "build the network for the classes of the data",
        )
    return names + tuple(str(label) for label in range(len(names), logits))


def _data_record(
    source: Source, found: Evaluation, names: tuple[str, ...], claim: Claim
) -> schema.DataRecord:
    batch = next(iter(source.epoch(None)))
    channels, height, width = batch.x.shape[1:]
    return schema.DataRecord(
        name=getattr(source, "name", None) or source.describe(),
        digest=digest(source.epoch(None)),
        n=len(found.labels),
        image_shape=(channels, height, width),
        classes=names,
        split=claim.split,
        unseen=True if claim.unseen else None,
    )
