"""What `harden evaluate` measures beside attacks: the operating point, calibration, corruptions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from harden.certificate.measurement_records import ProportionRecord
from harden.cli.output.console import Watch, say, say_table
from harden.data import Source
from harden.errors import InputError
from harden.evaluation import (
    CalibrationRecord,
    CorruptionRecord,
    Evaluation,
    OperatingPoint,
    accuracy_under_corruptions,
    at_threshold,
    calibration_of,
    mean_accuracy,
    operating_point,
    thresholded,
)
from harden.evaluation.natural.corruptions import SEVERITIES
from harden.evaluation.natural.operating_point import ClassRate, checked_threshold
from harden.losses import Classify
from harden.models import Classifier
from harden.statistics import Proportion

ATTACKED = "the stored witness in place of each image that was broken, the clean image elsewhere"
OWN = "confidence and answers are the model's own, by its largest probability, not by a decision threshold"


@final
@dataclass(frozen=True, slots=True)
class Beyond:
    """What is asked for, as the options say it."""

    threshold: float | None = None
    calibration: bool = False
    corruptions: bool = False

    def words(self) -> list[str]:
        """The option that attacks go by, as it is typed."""
        return [] if self.threshold is None else ["--decision-threshold", repr(self.threshold)]

    def check(self, classes: tuple[str, ...]) -> None:
        """Refuse a threshold before anything is attacked.

        Raises:
            InputError: it is outside (0, 1), or there are not two classes.
        """
        if self.threshold is None:
            return
        checked_threshold(self.threshold)
        if len(classes) != 2:
            raise InputError(
                f"--decision-threshold {self.threshold:g} for {len(classes)} classes",
                "two classes",
                "leave --decision-threshold out",
            )


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    Attributes:
        judge: gives the logits as the model has them.
        deciding: gives those that decide, at the threshold.
        images: the evaluated ones.
        seed: of noise.
    """

    judge: Classify
    deciding: Classify
    images: Source
    seed: int


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured; None where it was not asked for, or, under attack, where it can't be believed."""

    threshold: float | None
    decision: OperatingPoint | None
    clean: CalibrationRecord | None
    attacked: CalibrationRecord | None
    corruptions: tuple[CorruptionRecord, ...]

    def as_json(self) -> dict[str, Any]:
        """The parts `decision`, `calibration` and `corruptions` of --json."""
        return {
            "decision": None if self.decision is None else self._decision(self.decision),
            "calibration": None if self.clean is None else self._calibration(self.clean),
            "corruptions": _corruptions(self.corruptions) if self.corruptions else None,
        }

    def _decision(self, point: OperatingPoint) -> dict[str, Any]:
        believed = point.status == "ok"
        return {
            "threshold": self.threshold,
            "positive": point.positive,
            "sensitivity": _rate(point.sensitivity, believed),
            "specificity": _rate(point.specificity, believed),
            "prevalence": share_as_json(point.prevalence),
            "missing": list(point.missing),
        }

    def _calibration(self, clean: CalibrationRecord) -> dict[str, Any]:
        return {
            "clean": _reliability(clean),
            "attacked": None if self.attacked is None else _reliability(self.attacked),
            "attacked_images": ATTACKED,
            "answers": OWN,
        }


def as_decided(beyond: Beyond, model: Classifier, judge: Classify) -> tuple[Classifier, Classify]:
    """The model to attack and the judge, both at the threshold where there is one."""
    if beyond.threshold is None:
        return model, judge
    return at_threshold(model, beyond.threshold), thresholded(judge, beyond.threshold)


def measured(beyond: Beyond, subject: Subject, found: Evaluation, watch: Watch) -> Measured:
    """Measure what is asked for, beside an evaluation of the same images."""
    clean = attacked = None
    records: tuple[CorruptionRecord, ...] = ()
    if beyond.calibration:
        clean = calibration_of(subject.judge, subject.images, on_batch=watch.phase)
        if found.status == "ok":
            attacked = calibration_of(
                subject.judge, subject.images, witnesses=found.witnesses, on_batch=watch.phase
            )
    if beyond.corruptions:
        records = accuracy_under_corruptions(
            subject.deciding, subject.images, seed=subject.seed, on_batch=watch.phase
        )
    decision = None if beyond.threshold is None else operating_point(found)
    return Measured(beyond.threshold, decision, clean, attacked, records)


def share_as_json(share: Proportion) -> dict[str, Any]:
    """A proportion with its interval."""
    return ProportionRecord.of(share).model_dump(mode="json")


def show(more: Measured, classes: tuple[str, ...]) -> None:
    """Print what was measured."""
    if more.decision is not None:
        _show_decision(more.decision, f"p >= {more.threshold:g}", classes)
    if more.clean is not None:
        _show_calibration(more.clean, more.attacked)
    if more.corruptions:
        _show_corruptions(more.corruptions)


def _show_decision(point: OperatingPoint, at: str, classes: tuple[str, ...]) -> None:
    say(f"decision: {classes[point.positive]} is positive, from {at} on; prevalence {point.prevalence}")
    for name, rate in (("sensitivity", point.sensitivity), ("specificity", point.specificity)):
        if rate is not None:
            robust = f", robust at most {rate.robust}" if point.status == "ok" else ""
            say(f"{name}: clean {rate.clean}{robust}")
    for line in point.missing:
        say(line)


def _show_calibration(clean: CalibrationRecord, attacked: CalibrationRecord | None) -> None:
    for name, record in (("clean", clean), ("attacked", attacked)):
        if record is None:
            continue
        found = record.reliability
        low, high = _outwards(found.interval(), 10**4)
        say(
            f"calibration error, {name}: {found.ece:.4f} [{low:.4f}, {high:.4f}] "
            f"(n = {found.n - found.not_finite}, {len(found.bins)} bins); "
            f"bins of equal mass {record.adaptive_ece:.4f}; Brier score {found.brier:.4f}"
        )
        if found.not_finite:
            say(f"  {found.not_finite} of {found.n} images without finite logits: wrong, and in no bin")
    if attacked is None:
        say("calibration error, attacked: not told, for the evaluation is unreliable")
    else:
        say(f"attacked: {ATTACKED} ({attacked.replaced} of {attacked.reliability.n} images replaced)")
    say(OWN)


def _show_corruptions(records: tuple[CorruptionRecord, ...]) -> None:
    say(f"under common corruptions, no adversary, accuracy in % by severity; clean {records[0].clean}")
    rows = []
    for record in records:
        values = (*(each.value for each in record.accuracy), record.mean)
        rows.append((record.name, *(f"{100 * value:.1f}" for value in values)))
    say_table(("corruption", *map(str, SEVERITIES), "mean"), rows, right_from=1)
    mean = mean_accuracy(records)
    low, high = (100 * end for end in _outwards(mean.interval, 10**3))
    say(f"mean corruption accuracy {100 * mean.value:.1f} % [{low:.1f}, {high:.1f}] (n = {mean.n})")


def _outwards(interval: tuple[float, float], steps: int) -> tuple[float, float]:
    """The printed interval must not be narrower than the one that was computed."""
    low, high = interval
    return math.floor(low * steps) / steps, math.ceil(high * steps) / steps


def _rate(rate: ClassRate | None, believed: bool) -> dict[str, Any] | None:
    if rate is None:
        return None
    robust = share_as_json(rate.robust) if believed else None
    return {"clean": share_as_json(rate.clean), "robust": robust}


def _reliability(record: CalibrationRecord) -> dict[str, Any]:
    found = record.reliability
    return {
        "ece": found.ece,
        "interval": list(found.interval()),
        "confidence": 0.95,
        "n": found.n,
        "not_finite": found.not_finite,
        "replaced": record.replaced,
        "adaptive_ece": record.adaptive_ece,
        "brier": found.brier,
        "argmax_accuracy": share_as_json(found.accuracy),
        "bins": [
            {
                "low": each.low,
                "high": each.high,
                "n": each.n,
                "confidence": each.confidence,
                "accuracy": None if each.accuracy is None else share_as_json(each.accuracy),
            }
            for each in found.bins
        ],
    }


def _corruptions(records: tuple[CorruptionRecord, ...]) -> dict[str, Any]:
    mean = mean_accuracy(records)
    return {
        "clean": share_as_json(records[0].clean),
        "mean": {
            "value": mean.value,
            "n": mean.n,
            "interval": list(mean.interval),
            "confidence": mean.confidence,
        },
        "accuracy": {
            record.name: {
                str(severity): share_as_json(each)
                for severity, each in zip(SEVERITIES, record.accuracy, strict=True)
            }
            for record in records
        },
    }
