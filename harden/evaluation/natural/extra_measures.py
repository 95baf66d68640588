"""Measures next to robust accuracy: operating point, calibration, accuracy under corruptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from harden.data import Source
from harden.errors import InputError
from harden.evaluation.natural.corruptions import (
    SEVERITIES,
    CorruptionRecord,
    accuracy_under_corruptions,
    mean_accuracy,
)
from harden.evaluation.natural.measure_calibration import CalibrationRecord, calibration_of
from harden.evaluation.natural.operating_point import (
    ClassRate,
    OperatingPoint,
    at_threshold,
    checked_threshold,
    operating_point,
    thresholded,
)
from harden.evaluation.progress import Phase
from harden.evaluation.results.result import Evaluation
from harden.losses import Classify
from harden.models import Classifier
from harden.statistics import Proportion

ATTACKED = "the stored witness in place of each image that was broken, the clean image elsewhere"
OWN = "confidence and answers are the model's own, by its largest probability, not by a decision threshold"


@final
@dataclass(frozen=True, slots=True)
class ExtraMeasures:
    """The measures that options request.

    Attributes:
        threshold: the probability from which on the second of two classes is predicted; None for argmax.
        calibration: whether calibration is measured, clean and attacked.
        corruptions: whether accuracy under common corruptions is measured.
    """

    threshold: float | None = None
    calibration: bool = False
    corruptions: bool = False

    def words(self) -> list[str]:
        """The option that the attacks take into account, as it is typed."""
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
class MeasuredModel:
    """A model and the images on which it is measured.

    Attributes:
        judge: returns the logits of the model.
        deciding: returns the logits that decide, shifted to the threshold.
        images: the evaluated ones.
        seed: of noise.
    """

    judge: Classify
    deciding: Classify
    images: Source
    seed: int


@final
@dataclass(frozen=True, slots=True)
class ExtraResults:
    """Results of the extra measures; None where one was not requested, or, under attack, not reliable."""

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
        reliable = point.status == "ok"
        return {
            "threshold": self.threshold,
            "positive": point.positive,
            "sensitivity": _rate(point.sensitivity, reliable),
            "specificity": _rate(point.specificity, reliable),
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


def as_decided(extra: ExtraMeasures, model: Classifier, judge: Classify) -> tuple[Classifier, Classify]:
    """The model to attack and the judge, both at the threshold where there is one."""
    if extra.threshold is None:
        return model, judge
    return at_threshold(model, extra.threshold), thresholded(judge, extra.threshold)


def measured(
    extra: ExtraMeasures, model: MeasuredModel, found: Evaluation, on_batch: Callable[[Phase], None]
) -> ExtraResults:
    """The requested measures, on the images of an evaluation.

    Args:
        extra: the measures.
        model: with the images.
        found: the evaluation of these images.
        on_batch: called with the `Phase` after each batch.
    """
    clean = attacked = None
    records: tuple[CorruptionRecord, ...] = ()
    if extra.calibration:
        clean = calibration_of(model.judge, model.images, on_batch=on_batch)
        if found.status == "ok":
            attacked = calibration_of(model.judge, model.images, witnesses=found.witnesses, on_batch=on_batch)
    if extra.corruptions:
        records = accuracy_under_corruptions(model.deciding, model.images, seed=model.seed, on_batch=on_batch)
    decision = None if extra.threshold is None else operating_point(found)
    return ExtraResults(extra.threshold, decision, clean, attacked, records)


def share_as_json(share: Proportion) -> dict[str, Any]:
    """A proportion with its interval."""
    return {
        "value": share.value,
        "count": share.count,
        "n": share.n,
        "interval": list(share.interval),
        "confidence": share.confidence,
    }


def _rate(rate: ClassRate | None, reliable: bool) -> dict[str, Any] | None:
    if rate is None:
        return None
    robust = share_as_json(rate.robust) if reliable else None
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
