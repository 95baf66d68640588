"""Conversion of evaluations and proofs to the records of a certificate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from harden.certificate import schema
from harden.description import describe_fields
from harden.errors import InputError
from harden.evaluation import Evaluation
from harden.evaluation.proofs.prove import ProofResult
from harden.statistics import Proportion
from harden.threats import Threat


def proportion(found: Proportion) -> schema.ProportionRecord:
    """A proportion with its exact interval."""
    return schema.ProportionRecord.of(found)


def threat_record(threat: Threat) -> schema.ThreatRecord:
    """The threat model."""
    norm = threat.name
    if norm not in ("linf", "l2", "l1"):
        raise InputError(
            f"a claim about {threat!r}",
            "a threat with one eps: Linf, L2 or L1",
            "certify against harden.Linf of the largest budget, and harden.evaluate against this one",
        )
    return schema.ThreatRecord.model_validate({"norm": norm, "eps": str(threat.eps), "bounds": threat.bounds})


def bits(found: Evaluation, proved: ProofResult | None = None) -> schema.Bits:
    """One bit for each example; no example is certified without a proof at eps."""
    nothing = found.robust_correct & ~found.robust_correct
    return schema.Bits(
        n=len(found.labels),
        clean_correct=_packed(found.clean_correct),
        robust_correct=_packed(found.robust_correct),
        certified=_packed(nothing if proved is None else proved.certified),
    )


def bracket(found: Evaluation, proved: ProofResult | None = None) -> schema.Bracket:
    """[certified, robust accuracy]: the lower end is 0 of n until a proof is tried at eps."""
    lower, method = Proportion(0, found.robust.n), None
    if proved is not None and proved.top in proved.search.tried:
        lower, method = proved.at_least(proved.top), str(proved.search.method)
    return schema.Bracket(certified=proportion(lower), robust=proportion(found.robust), method=method)


def verdicts(found: Evaluation, proved: ProofResult | None = None) -> schema.Verdicts:
    """Numbers of certified, falsified and unknown examples."""
    unbroken = found.robust.count
    certified = 0 if proved is None else int(proved.certified.sum())
    return schema.Verdicts(
        certified=certified, falsified=found.robust.n - unbroken, unknown=unbroken - certified
    )


def proof(proved: ProofResult | None) -> schema.ProofRecord | None:
    """Certified accuracy at the radii that were tried."""
    if proved is None:
        return None
    unit = proved.found.threat.eps / proved.top
    return schema.ProofRecord(
        method=str(proved.search.method),
        settings=describe_fields(proved.search),
        points=tuple(
            schema.ProofPoint(eps=str(unit * level), certified=proportion(proved.at_least(level)))
            for level in proved.search.tried
        ),
        complete=not proved.unsettled,
        compared=schema.ComparedRecord(
            build=proved.compared.build,
            sessions=proved.compared.sessions,
            graphs=proved.compared.graphs,
        ),
        seconds=proved.seconds,
    )


def attacks(found: Evaluation) -> tuple[schema.AttackRecord, ...]:
    """A record of each attempt."""
    return tuple(
        schema.AttackRecord(
            name=record.name,
            spec=record.spec,
            attempted=record.attempted,
            broken=record.broken,
            robust=proportion(record.robust),
            passes=record.passes,
            seconds=record.seconds,
        )
        for record in found.attempts
    )


def classes(found: Evaluation, names: Sequence[str]) -> tuple[schema.ClassRecord, ...]:
    """Accuracy class by class."""
    return tuple(
        schema.ClassRecord(label=names[label], n=clean.n, clean=proportion(clean), robust=proportion(robust))
        for label, (clean, robust) in found.per_class().items()
    )


def checks(found: Evaluation) -> tuple[schema.CheckRecord, ...]:
    """The trust checks."""
    return tuple(
        schema.CheckRecord(
            name=check.name,
            value=check.value,
            threshold=check.threshold,
            passed=check.passed,
            meaning=check.meaning,
            action=check.action,
        )
        for check in found.checks
    )


def curve(attack: str, points: Sequence[tuple[Threat, Proportion]]) -> schema.CurveRecord:
    """Accuracy over eps."""
    return schema.CurveRecord(
        attack=attack,
        points=tuple(
            schema.CurvePointRecord(eps=str(at.eps), robust=proportion(share)) for at, share in points
        ),
    )


def _packed(mask: Tensor) -> str:
    return np.packbits(mask.numpy()).tobytes().hex()
