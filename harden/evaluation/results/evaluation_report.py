"""An evaluation as JSON, with a schema: what `harden evaluate --json` writes."""

from __future__ import annotations

from typing import Any, Literal, Self, final

from pydantic import BaseModel, ConfigDict, JsonValue

from harden.evaluation.results.result import Evaluation
from harden.statistics import Proportion


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(_Part):
    """A share of n examples with its exact two-sided interval (Clopper and Pearson)."""

    value: float
    count: int
    n: int
    interval: tuple[float, float]
    confidence: float

    @classmethod
    def of(cls, found: Proportion) -> Self:
        """A proportion as JSON."""
        return cls(
            value=found.value,
            count=found.count,
            n=found.n,
            interval=found.interval,
            confidence=found.confidence,
        )


class Threatened(_Part):
    """The threat model; eps is a fraction of the pixels' unit, such as 8/255."""

    norm: str
    eps: str
    bounds: tuple[float, float]


class Attacked(_Part):
    """What one attempt did: how many examples it met and broke, and what stands after it."""

    attempted: int
    broken: int
    robust: Share
    passes: float
    seconds: float
    spec: dict[str, JsonValue]


class OfClass(_Part):
    """Accuracy on the examples of one class."""

    clean: Share
    robust: Share


class WorstClass(OfClass):
    """The class of lowest robust accuracy, chosen by looking."""

    label: int
    name: str


class Checked(_Part):
    """A trust check: passed means value <= threshold."""

    value: float
    threshold: float
    passed: bool
    meaning: str
    action: str


class PerExample(_Part):
    """Lists of n, in the order of the data: which attempt broke each, and in which of its steps or queries.

    `broken_by` is null where none did, `broken_at` 0 there and where an attack does not tell.
    """

    clean_correct: list[bool]
    broken_by: list[str | None]
    broken_at: list[int]


class CurvePoint(_Part):
    """Robust accuracy, at most, at one eps of several that were asked for; why it is not trusted."""

    eps: str
    status: Literal["ok", "unreliable"]
    robust: Share | None
    reasons: list[str]


@final
class Report(_Part):
    """All that an evaluation found. Without trust (`status`) there is no headline: `robust` is null.

    `reasons` has a line for each trust check that fired, `next` the command to run then. Of several eps the
    numbers are those of the largest, each has a point of `curve`, and `status` and `reasons` are of them all.
    `warnings` says where clean accuracy can't be told from guessing: `robust` then says nothing of the model.

    `unanswered` counts images with a logit that is NaN or infinite, each of which is classified wrong.

    `evidence` says what attacks went by: A the gradients of what decides, B another network's and scores,
    C scores alone.
    """

    status: Literal["ok", "unreliable"]
    reasons: list[str]
    next: str | None = None
    warnings: list[str] = []
    complete: bool
    n: int
    left: int
    threat: Threatened
    output: Literal["logits", "probabilities", "log-probabilities"]
    unanswered: int = 0
    clean: Share
    robust: Share | None
    per_attack: dict[str, Attacked]
    per_class: dict[str, OfClass]
    worst_class: WorstClass | None
    checks: dict[str, Checked]
    per_example: PerExample
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
            found: what was found.
            by: what decided, in words.
            classes: their names, by label.
            seed: of the random starts.
            more: the fields that go beyond attacks, as JSON.
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
            threat=Threatened(norm=found.threat.name, eps=str(found.threat.eps), bounds=found.threat.bounds),
            output=found.output,  # type: ignore[arg-type]  # one of three words, which pydantic checks
            unanswered=found.unanswered,
            clean=Share.of(found.clean),
            robust=Share.of(found.robust) if trusted else None,
            per_attack=_attacks(found),
            per_class={
                str(each): OfClass(clean=Share.of(one), robust=Share.of(other))
                for each, (one, other) in found.per_class().items()
            },
            worst_class=WorstClass(
                label=label, name=classes[label], clean=Share.of(clean), robust=Share.of(robust)
            )
            if trusted
            else None,
            checks={
                check.name: Checked(
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
            robust=Share.of(one.robust) if one.status == "ok" else None,
            reasons=[check.reason for check in one.fired],
        ).model_dump(mode="json")
        for one in found
    ]


def _attacks(found: Evaluation) -> dict[str, Attacked]:
    return {
        record.name: Attacked(
            attempted=record.attempted,
            broken=record.broken,
            robust=Share.of(record.robust),
            passes=record.passes,
            seconds=record.seconds,
            spec=record.spec,
        )
        for record in found.attempts
    }


def _examples(found: Evaluation) -> PerExample:
    names = [record.name for record in found.attempts]
    return PerExample(
        clean_correct=found.clean_correct.tolist(),
        broken_by=[names[place] if place >= 0 else None for place in found.broken_by.tolist()],
        broken_at=found.broken_at.tolist(),
    )
