"""Schema of the certificate: an in-toto Statement v1 whose predicate holds measurements of one ONNX file.

Its records are defined in `harden.certificate.measurement_records` and importable from here as well.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from harden.certificate.measurement_records import (
    Amount,
    AttackRecord,
    Bits,
    Bracket,
    ClassRecord,
    ComparedRecord,
    Count,
    CurvePointRecord,
    CurveRecord,
    DataRecord,
    FrozenRecord,
    Hex256,
    Png,
    Positive,
    ProofPoint,
    ProofRecord,
    ProportionRecord,
    Share,
    ThreatRecord,
    Verdicts,
)

__all__ = [
    "EVIDENCE_FILE",
    "LIMITS",
    "MODEL_FILE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "ArrayRecord",
    "AttackRecord",
    "BackendRecord",
    "Bits",
    "Bracket",
    "CheckRecord",
    "ClassRecord",
    "ComparedRecord",
    "ComparisonRecord",
    "CurvePointRecord",
    "CurveRecord",
    "DataRecord",
    "EvidenceRecord",
    "HistoryPoint",
    "ParityRecord",
    "Predicate",
    "ProofPoint",
    "ProofRecord",
    "ProportionRecord",
    "Provenance",
    "Seal",
    "StageRecord",
    "Statement",
    "Subject",
    "ThreatRecord",
    "Verdicts",
    "WitnessPair",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:harden:robustness-certificate:v1"
MODEL_FILE: Final = "model.onnx"
EVIDENCE_FILE: Final = "evidence.npz"

LIMITS = (
    "The claim is about this float32 ONNX file as onnxruntime executes it on a CPU. Other runtimes, devices "
    "and number formats (TF32, bfloat16, int8, Winograd) may answer otherwise and are not covered.",
    "Robust accuracy is an upper bound: an attack that found nothing is not a proof that nothing exists.",
    "Only the threat model named here was examined, on the images named here: other perturbations, other "
    "data and a shift of the distribution are not covered.",
    "The certificate is not signed. Its seal and digests detect accident, not forgery.",
    "This is evidence towards an assessment of robustness. It claims conformity with no standard and no law.",
)


class HistoryPoint(FrozenRecord):
    """A point of the training history. `passes` is in units of E: passes per training image so far.

    `event` says what a guard of training did at this step, and why.
    """

    stage: str
    step: Count
    passes: Amount
    seconds: Amount
    loss: float
    clean: Share | None = None
    robust: Share | None = None
    event: str = ""


class WitnessPair(FrozenRecord):
    """An image and its witness, with predicted class names, their distance in the norm, and base64 PNGs."""

    index: Count
    label: str
    clean_prediction: str
    adversarial_prediction: str
    distance: Amount
    clean_png: Png
    adversarial_png: Png
    difference_png: Png


class StageRecord(FrozenRecord):
    """One stage of training: a count of `passes`, and E = passes / training-set size."""

    name: str
    objective: dict[str, JsonValue]
    passes: Amount
    epochs_equivalent: Amount
    seconds: Amount


class ComparisonRecord(FrozenRecord):
    """Another network, such as the one before hardening, under the same attacks on the same images."""

    name: str
    status: Literal["ok", "unreliable"] = "ok"
    clean: ProportionRecord
    robust: ProportionRecord


class ParityRecord(FrozenRecord):
    """The ONNX file compared with the torch model: max_error <= tolerance (in logits) for these batch sizes.

    The torch model is computed in float64, or in float32 where its forward runs in nothing else.
    """

    tolerance: Amount
    max_error: Amount
    batches: tuple[Positive, ...]
    inputs: str = "clean and adversarial"
    reference: Literal["float64", "float32"] = "float64"

    @model_validator(mode="after")
    def _passed(self) -> Self:
        if self.max_error > self.tolerance:
            raise ValueError(f"max_error {self.max_error} exceeds tolerance {self.tolerance}; export again")
        return self


class BackendRecord(FrozenRecord):
    """The kernels that ran, and the reason for the choice."""

    name: str
    reason: str


class Provenance(FrozenRecord):
    """Origin of the file. `created` is ISO 8601 in UTC; `passes` a count over all stages."""

    created: str
    versions: dict[str, str]
    seeds: dict[str, int]
    recipe: dict[str, JsonValue] | None
    stages: tuple[StageRecord, ...]
    passes: Amount
    seconds: Amount
    backend: BackendRecord
    device: str
    deterministic: bool


class CheckRecord(FrozenRecord):
    """A trust check of robust accuracy: a value, its threshold, and the action to take if it fires."""

    name: str
    value: float
    threshold: float
    passed: bool
    meaning: str
    action: str

    @model_validator(mode="after")
    def _passed_follows(self) -> Self:
        if self.passed != (self.value <= self.threshold):
            raise ValueError(f"passed is {self.passed} at {self.value} against {self.threshold}")
        return self


class ArrayRecord(FrozenRecord):
    """dtype and shape of one array of the evidence."""

    dtype: str
    shape: tuple[Count, ...]


class EvidenceRecord(FrozenRecord):
    """Content of evidence.npz: the number of `witnesses` and, by name, each array's type."""

    witnesses: Count
    arrays: dict[str, ArrayRecord]


class Predicate(FrozenRecord):
    """All claims about the subject, and how they were obtained."""

    status: Literal["ok", "unreliable"]
    threat: ThreatRecord
    data: DataRecord
    bracket: Bracket
    clean: ProportionRecord
    verdicts: Verdicts
    comparison: ComparisonRecord | None = None
    attacks: tuple[AttackRecord, ...]
    classes: tuple[ClassRecord, ...]
    checks: tuple[CheckRecord, ...] = ()
    curve: CurveRecord | None = None
    proof: ProofRecord | None = None
    parity: ParityRecord
    evidence: EvidenceRecord
    provenance: Provenance
    limits: Annotated[tuple[str, ...], Field(min_length=1)] = LIMITS
    bits: Bits
    history: tuple[HistoryPoint, ...] = ()
    gallery: tuple[WitnessPair, ...] = ()

    @model_validator(mode="after")
    def _status_follows_from_checks(self) -> Self:
        if (self.status == "ok") != all(check.passed for check in self.checks):
            raise ValueError(f"status is {self.status!r}; expected 'unreliable' exactly when a check fired")
        return self


class Subject(FrozenRecord):
    """A file and its digests: `sha256` of its bytes and, for the model, `graph` of the graph's content."""

    name: Literal["model.onnx", "evidence.npz"]
    digest: dict[Literal["sha256", "graph"], Hex256]


class Statement(FrozenRecord):
    """An in-toto Statement v1: a signature is computed over its canonical JSON."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, Subject]
    predicate_type: Literal["urn:harden:robustness-certificate:v1"] = Field(
        default=PREDICATE_TYPE, alias="predicateType"
    )
    predicate: Predicate

    @model_validator(mode="after")
    def _names_both_files(self) -> Self:
        model, evidence = self.subject
        if (model.name, evidence.name) != (MODEL_FILE, EVIDENCE_FILE):
            raise ValueError(
                f"subjects are {model.name}, {evidence.name}; expected {MODEL_FILE}, {EVIDENCE_FILE}"
            )
        if set(model.digest) != {"sha256", "graph"} or set(evidence.digest) != {"sha256"}:
            raise ValueError(
                "digests are incomplete; expected sha256 and graph of the model, sha256 of the evidence"
            )
        return self


class Seal(FrozenRecord):
    """sha256 over the canonical JSON of the statement: it detects any edit. It is not a signature."""

    sha256: Hex256
