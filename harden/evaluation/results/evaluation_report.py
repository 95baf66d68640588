"""JSON report of an evaluation, with its schema: the output of `harden evaluate --json`."""

from __future__ import annotations

from typing import Any, Literal, Self, final

from pydantic import BaseModel, ConfigDict, JsonValue

from harden.certificate.measurement_records import ProportionRecord
from harden.evaluation.results.result import Evaluation


class ReportSection(BaseModel):
    """A frozen part of a report that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ThreatSection(ReportSection):
    """The threat model; eps is a fraction of the pixels' unit, such as 8/255."""

    norm: str
    eps: str
    bounds: tuple[float, float]


class AttemptSection(ReportSection):
    """One attempt: the number of examples it was made on and broke, and robust accuracy after it."""

    attempted: int
    broken: int
    robust: ProportionRecord
    passes: float
    seconds: float
    spec: dict[str, JsonValue]


class ClassAccuracy(ReportSection):
    """Accuracy on the examples of one class."""

    clean: ProportionRecord
    robust: ProportionRecord


class WorstClass(ClassAccuracy):
    """The class of lowest robust accuracy, chosen on the same images."""

    label: int
    name: str


class CheckSection(ReportSection):
    """A trust check: passed means value <= threshold."""

    value: float
    threshold: float
    passed: bool
    meaning: str
    action: str


class ExampleSection(ReportSection):
    """Lists of n, in the order of the data: the attempt that broke each, and in which step or query.

    `broken_by` is null where none did, `broken_at` 0 there and where an attack does not report it.
    """

    clean_correct: list[bool]
    broken_by: list[str | None]
    broken_at: list[int]


class CurvePoint(ReportSection):
    """Robust accuracy, an upper bound, at one of several eps, with the reasons where it is unreliable."""

    eps: str
    status: Literal["ok", "unreliable"]
    robust: ProportionRecord | None
    reasons: list[str]


@final
class EvaluationReport(ReportSection):
    """Result of an evaluation. If it is unreliable (`status`) there is no headline: `robust` is null.

    `reasons` has a line for each trust check that fired, `next` the command to run then. Of several eps the
    numbers are those of the largest, each has a point of `curve`, and `status` and `reasons` are of them all.
    `warnings` reports clean accuracy that is not above chance: `robust` then says nothing about the model.

    `unanswered` counts images with a logit that is NaN or infinite, each of which counts as misclassified.

    `evidence` is the evidence level: A the attacks used gradients of the model that decides, B those of
    another network and scores, C scores alone.
    """

    status: Literal["ok", "unreliable"]
    reasons: list[str]
    next: str | None = None
    warnings: list[str] = []
    complete: bool
    n: int
    left: int
    threat: ThreatSection
    output: Literal["logits", "probabilities", "log-probabilities"]
    unanswered: int = 0
    clean: ProportionRecord
    robust: ProportionRecord | None
    per_attack: dict[str, AttemptSection]
    per_class: dict[str, ClassAccuracy]
    worst_class: WorstClass | None
    checks: dict[str, CheckSection]
    per_example: ExampleSection
    decided_by: str
    evidence: Literal["A", "B", "C"] = "A"
    seed: int
    passes: float
    seconds: float
    curve: list[CurvePoint] | None = None
    decision: dict[str, JsonValue] | None = None
    calibration: dict[str, JsonValue] | None = None
    corruptions: dict[str, JsonValue] | None = None

    @classmethod
    def of(cls, found: Evaluation, by: str, classes: tuple[str, ...], seed: int, **more: Any) -> Self:
        """An evaluation as a report.

        Args:
            found: the evaluation.
            by: name of the judge.
            classes: their names, by label.
            seed: of the random starts.
            more: fields other than those of attacks, as JSON.
        """
        points = more.get("curve", ())
        unsure = [f"eps {point['eps']}: {each}" for point in points for each in point["reasons"]]
        reasons = unsure if points else [check.reason for check in found.fired]
        trusted = not reasons
        label, clean, robust = found.worst_class
        return cls(
            status="ok" if trusted else "unreliable",
            reasons=reasons,
            warnings=[line] if (line := found.caution(classes)) else [],
            complete=found.complete,
            n=len(found.labels),
            left=found.left,
            threat=ThreatSection(
                norm=found.threat.name, eps=str(found.threat.eps), bounds=found.threat.bounds
            ),
            output=found.output,  # type: ignore[arg-type]  # one of three words, which pydantic checks
            unanswered=found.unanswered,
            clean=ProportionRecord.of(found.clean),
            robust=ProportionRecord.of(found.robust) if trusted else None,
            per_attack=_attacks(found),
            per_class={
                str(each): ClassAccuracy(clean=ProportionRecord.of(one), robust=ProportionRecord.of(other))
                for each, (one, other) in found.per_class().items()
            },
            worst_class=WorstClass(
                label=label,
                name=classes[label],
                clean=ProportionRecord.of(clean),
                robust=ProportionRecord.of(robust),
            )
            if trusted
            else None,
            checks={
                check.name: CheckSection(
                    value=check.value,
                    threshold=check.threshold,
                    passed=check.passed,
                    meaning=check.meaning,
                    action=check.action,
                )
                for check in found.checks
            },
            per_example=_examples(found),
            decided_by=by,
            seed=seed,
            passes=found.passes,
            seconds=found.seconds,
            **more,
        )


def curve_points(found: tuple[Evaluation, ...]) -> list[dict[str, Any]]:
    """Evaluations at several eps as the points of a curve, as JSON."""
    return [
        CurvePoint(
            eps=str(one.threat.eps),
            status="ok" if one.status == "ok" else "unreliable",
            robust=ProportionRecord.of(one.robust) if one.status == "ok" else None,
            reasons=[check.reason for check in one.fired],
        ).model_dump(mode="json")
        for one in found
    ]


def _attacks(found: Evaluation) -> dict[str, AttemptSection]:
    return {
        record.name: AttemptSection(
            attempted=record.attempted,
            broken=record.broken,
            robust=ProportionRecord.of(record.robust),
            passes=record.passes,
            seconds=record.seconds,
            spec=record.spec,
        )
        for record in found.attempts
    }


def _examples(found: Evaluation) -> ExampleSection:
    names = [record.name for record in found.attempts]
    return ExampleSection(
        clean_correct=found.clean_correct.tolist(),
        broken_by=[names[place] if place >= 0 else None for place in found.broken_by.tolist()],
        broken_at=found.broken_at.tolist(),
    )
