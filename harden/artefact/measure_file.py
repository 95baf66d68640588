"""Measures an exported file and says what was found in the certificate's words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import final

from harden.artefact import to_certificate
from harden.artefact.measured_prefix import attack_share, finished_part, in_time
from harden.artefact.parity.parity_gate import Parity
from harden.artefact.parity.parity_gated_export import exported, first_images, judge_of
from harden.artefact.provenance import Origin, provenance
from harden.artefact.runtime.executed_programs import executions
from harden.artefact.runtime.session import Session
from harden.artefact.witness_gallery import gallery
from harden.artefact.write_evidence import write_evidence
from harden.attacks import PGD
from harden.certificate import schema
from harden.data import Source
from harden.data.dataset_digest import digest
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, Phase, accuracy_curve, evaluate, standard
from harden.evaluation.proofs.prove import EvaluatedImages, ProofResult, RadiusSearch, prove
from harden.evaluation.sweeps.accuracy_curve import AccuracyCurve
from harden.evaluation.time_limit import TimeLimit
from harden.losses import Classify, Margin
from harden.models import Classifier
from harden.threats import Threat

_log = logging.getLogger("harden")

CURVE_ATTEMPT = Attempt("pgd-20-margin", PGD(steps=20), Margin)

TIME_WAS_UP = "time was up"
"""How the split's name ends where it is of the first images alone."""

OnPhase = Callable[[Phase], None]


@final
@dataclass(frozen=True, slots=True)
class Claim:
    """What to measure on the exported file, and against what.

    Args:
        threat: the threat model of the claim.
        attempts: the suite `standard` by default.
        before: a model to print beside the exported one, under the same attacks on the same images.
        before_name: what to call it.
        origin: where the exported model came from.
        seed: of the attacks' random starts.
        split: what the evaluated images are, in words.
        unseen: whether they were compared with the training images and none is equal to one.
        batch_size: images at a time, where the data bring no batches of their own.
        search: how proofs are looked for; None for no proofs.
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
    """Attack the file, bound it from above, and compare; evidence.npz is written on the way."""
    judge, pace, whole = judge_of(session), TimeLimit(claim.minutes), len(source)
    share = attack_share(claim.attempts, session.classes, compared=claim.before is not None)
    found = evaluate(
        model,
        source,
        claim.threat,
        claim.attempts,
        judge=judge,
        seed=claim.seed,
        minutes=None if claim.minutes is None else share * claim.minutes,
        on_batch=lambda at: report(Phase.of("attack the file", at)),
    )
    names = _class_names(source, session)
    source, found = finished_part(source, found)
    if len(found.labels) < whole:
        said = f"{claim.split}, the first {len(found.labels):,} of {whole:,} images: {TIME_WAS_UP}"
        claim = replace(claim, split=said)
    curve = in_time(pace, "curve over eps", partial(_curve, model, source, found, judge, claim, report))
    comparison = in_time(pace, "comparison", partial(_comparison, source, claim, report))
    found = found if curve is None else curve.found
    proved = _proved(folder / schema.MODEL_FILE, source, found, claim, report)
    return schema.Predicate(
        status="ok" if found.status == "ok" else "unreliable",
        threat=to_certificate.threat_record(claim.threat),
        data=_data_record(source, found, names, claim),
        bracket=to_certificate.bracket(found, proved),
        clean=to_certificate.proportion(found.clean),
        verdicts=to_certificate.verdicts(found, proved),
        comparison=comparison,
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
        provenance=provenance(claim.origin, found.passes, found.seconds, model.device),
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
    file: Path, source: Source, found: Evaluation, claim: Claim, report: OnPhase
) -> ProofResult | None:
    """Proofs, where a search is given; without bounds, or where the runtime leaves them, a warning."""
    if claim.search is None:
        return None
    try:
        executed = executions(file)
    except InputError as error:
        _log.warning("no proof was tried: %s", error)
        return None
    proved = prove(
        executed,
        EvaluatedImages(source, found),
        claim.search,
        on_proof=lambda at: report(Phase("prove", at.done, at.total)),
    )
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


def _class_names(source: Source, session: Session) -> tuple[str, ...]:
    """The names that the data bring, then numbers for the classes that only the model knows."""
    names: tuple[str, ...] = tuple(getattr(source, "classes", None) or ())
    if len(names) > session.classes:
        raise InputError(
            f"{len(names)} classes in the data and {session.classes} logits",
            "a logit for each class",
            "build the network for the classes of the data",
        )
    return names + tuple(str(label) for label in range(len(names), session.classes))


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
