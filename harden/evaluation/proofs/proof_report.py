"""JSON report of proofs, with its schema: the output of `harden certify --json`."""

from __future__ import annotations

from typing import Final, Literal, Self, final

from pydantic import JsonValue

from harden.certificate.measurement_records import ProportionRecord
from harden.description import describe_fields
from harden.evaluation.proofs.prove import VERDICTS, ProofResult
from harden.evaluation.results.evaluation_report import ReportSection, ThreatSection

LIMITS: Final = (
    "A proof holds for this file in float32, sums in any order, with or without fused multiply-adds and "
    "flushing of denormals. It does not cover TF32, bfloat16, float16 or integer arithmetic, Winograd or FFT "
    "convolutions, or a runtime that replaces functions by cruder ones.",
    "It is one for each graph that the named onnxruntime executes at its levels of graph optimisation, the "
    "default included. Another version or another runtime may rewrite the file into another graph.",
    "It is about these images and this threat model: other images, other perturbations and a shift of the "
    "distribution are not covered.",
    "Unknown means that neither a proof nor a counterexample was found; it is counted as not certified.",
)


class VerdictCounts(ReportSection):
    """Images by verdict."""

    certified: int
    falsified: int
    unknown: int


class RadiusPoint(ReportSection):
    """Certified accuracy at one radius."""

    eps: str
    certified: ProportionRecord


class RuntimeSection(ReportSection):
    """The runtime that proofs were compared with: its sessions' levels of graph optimisation and threads."""

    build: str
    sessions: list[str]
    graphs: int


@final
class ProofReport(ReportSection):
    """Verdicts per image and in total: certified, falsified or unknown.

    `certified` is a lower bound of robust accuracy by proof, `robust` the upper bound by attack; null where a
    trust check fired: then `reasons` has a line for each, and `next` the command to run. `verdicts`
    and `radii` are lists of n, in the order of the data; a radius is a fraction of the pixels' unit at
    which the image is proved, at most the threat's eps, "0" where none is.

    With a time limit, `complete` is true if every image was attacked and every search ended by itself.
    `not_attacked` images are in no number, n included; `not_tried` are in n, and their search at eps was not
    begun; `stopped` are those whose search the time limit ended; `left` is the sum of the three. `unsettled`
    images have a radius that more time might increase.
    `disagreement` is where the runtime left the bounds of its own graph; then nothing is proved.
    """

    n: int
    threat: ThreatSection
    clipped_to: tuple[float, float]
    clean: ProportionRecord
    certified: ProportionRecord
    robust: ProportionRecord | None
    status: Literal["ok", "unreliable"]
    reasons: list[str]
    next: str | None
    counts: VerdictCounts
    verdicts: list[Literal["certified", "falsified", "unknown"]]
    radii: list[str]
    curve: list[RadiusPoint]
    method: str
    settings: dict[str, JsonValue]
    attacks: list[str]
    complete: bool
    left: int
    compared: RuntimeSection
    disagreement: str | None
    not_attacked: int
    not_tried: int
    stopped: int
    unsettled: int
    seconds: float
    sha256: str
    seed: int
    limits: list[str]

    @classmethod
    def of(cls, proved: ProofResult, sha256: str, seed: int, next_command: str | None = None) -> Self:
        """The report of a result.

        Args:
            proved: the result.
            sha256: of the file.
            seed: of the attacks' random starts.
            next_command: the command to run next, where a trust check fired.
        """
        found, search = proved.found, proved.search
        trusted, verdicts = found.status == "ok", proved.verdicts
        return cls(
            n=len(verdicts),
            threat=ThreatSection(
                norm=found.threat.name, eps=str(found.threat.eps), bounds=found.threat.bounds
            ),
            clipped_to=found.threat.bounds,
            clean=ProportionRecord.of(found.clean),
            certified=ProportionRecord.of(proved.at_least(proved.top)),
            robust=ProportionRecord.of(found.robust) if trusted else None,
            status="ok" if trusted else "unreliable",
            reasons=[check.reason for check in found.fired],
            next=next_command,
            counts=VerdictCounts(**{name: verdicts.count(name) for name in VERDICTS}),
            verdicts=verdicts,  # type: ignore[arg-type]  # words that pydantic checks
            radii=[str(radius) for radius in proved.radii],
            curve=[
                RadiusPoint(eps=str(eps), certified=ProportionRecord.of(share)) for eps, share in proved.curve
            ],
            method=str(search.method),
            settings=describe_fields(search),
            attacks=[record.name for record in found.attempts],
            complete=proved.complete,
            left=found.left + proved.left,
            compared=RuntimeSection(
                build=proved.compared.build,
                sessions=list(proved.compared.sessions),
                graphs=proved.compared.graphs,
            ),
            disagreement=None if proved.disagreement is None else str(proved.disagreement),
            not_attacked=found.left,
            not_tried=proved.untried,
            stopped=proved.stopped,
            unsettled=proved.unsettled,
            seconds=found.seconds + proved.seconds,
            sha256=sha256,
            seed=seed,
            limits=list(LIMITS),
        )
