"""Measures next to robust accuracy: what is requested, what is measured on what, and their JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harden.data import Batch, Source, from_loader
from harden.errors import InputError
from harden.evaluation import Evaluation, Phase, operating_point
from harden.evaluation.natural.corruptions import SEVERITIES, CorruptionRecord, mean_accuracy
from harden.evaluation.natural.extra_measures import (
    ATTACKED,
    OWN,
    ExtraMeasures,
    ExtraResults,
    MeasuredModel,
    as_decided,
    measured,
    share_as_json,
)
from harden.models import Classifier
from harden.statistics import Proportion
from tests.evaluation.by_hand import greys, written_down

BOTH = ("no", "yes")
LABELS = (0, 1, 1, 0, 1)


def images() -> Source:
    return from_loader((greys(5), torch.tensor(LABELS)), 2)


def corrupted(name: str, *counts: int) -> CorruptionRecord:
    return CorruptionRecord(name, Proportion(4, 5), tuple(Proportion(count, 5) for count in counts))


def results(
    extra: ExtraMeasures, model: Classifier, found: Evaluation | None = None
) -> tuple[ExtraResults, list[Phase]]:
    phases: list[Phase] = []
    subject = MeasuredModel(model.logits, model.logits, images(), 0)
    return measured(extra, subject, found or written_down(), phases.append), phases


# The request


def test_nothing_is_measured_by_default() -> None:
    extra = ExtraMeasures()
    assert (extra.threshold, extra.calibration, extra.corruptions) == (None, False, False)
    assert extra.words() == []
    extra.check(("a", "b", "c"))


def test_the_words_are_typed_again_as_they_were() -> None:
    words = ExtraMeasures(0.1 + 0.2, calibration=True).words()
    assert words[0] == "--decision-threshold"
    assert float(words[1]) == 0.1 + 0.2


@pytest.mark.parametrize("classes", [("a",), ("a", "b", "c")])
def test_a_threshold_is_for_two_classes(classes: tuple[str, ...]) -> None:
    ExtraMeasures(0.5).check(BOTH)
    with pytest.raises(InputError) as caught:
        ExtraMeasures(0.5).check(classes)
    assert caught.value.seen == f"--decision-threshold 0.5 for {len(classes)} classes"
    assert caught.value.expected == "two classes"
    assert caught.value.instead == "leave --decision-threshold out"


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(InputError, match=r"expected a probability in \(0, 1\)"):
        ExtraMeasures(threshold).check(BOTH)


def test_a_threshold_changes_the_model_and_the_judge_alike(line: Classifier) -> None:
    assert as_decided(ExtraMeasures(), line, line.logits) == (line, line.logits)
    model, judge = as_decided(ExtraMeasures(0.6), line, line.logits)
    x = torch.linspace(0, 1, 41).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    positive = line.logits(x).softmax(1)[:, 1] >= 0.6
    assert 0 < int(positive.sum()) < int((line.logits(x).argmax(1) == 1).sum())
    assert torch.equal(model.logits(x).argmax(1) == 1, positive)
    assert torch.equal(judge(x).argmax(1) == 1, positive)


# The measurement


def test_what_is_not_requested_is_not_measured(line: Classifier) -> None:
    found, phases = results(ExtraMeasures(), line)
    assert found == ExtraResults(None, None, None, None, ())
    assert phases == []
    assert found.as_json() == {"decision": None, "calibration": None, "corruptions": None}


def test_calibration_is_clean_and_on_the_witnesses(line: Classifier) -> None:
    found, phases = results(ExtraMeasures(calibration=True), line)
    assert found.clean is not None
    assert found.attacked is not None
    assert (found.clean.replaced, found.attacked.replaced) == (0, 1)
    with torch.no_grad():
        right = (line.logits(greys(5)).argmax(1) == torch.tensor(LABELS)).sum()
    assert found.clean.reliability.accuracy.count == int(right)
    # Three batches of 2, 2 and 1, twice.
    assert [phase.done for phase in phases] == [2, 4, 5, 2, 4, 5]
    assert found.decision is None
    assert found.corruptions == ()


def test_calibration_under_attacks_that_are_not_trusted_is_not_given(line: Classifier) -> None:
    found, _ = results(ExtraMeasures(calibration=True), line, written_down(fired=True))
    assert found.clean is not None
    assert found.attacked is None
    said = found.as_json()["calibration"]
    assert said["attacked"] is None
    assert (said["attacked_images"], said["answers"]) == (ATTACKED, OWN)


def test_the_decision_is_that_of_the_evaluation(line: Classifier) -> None:
    evaluation = written_down()
    found, _ = results(ExtraMeasures(0.3), line, evaluation)
    assert found.threshold == 0.3
    assert found.decision == operating_point(evaluation)


def test_corruptions_are_of_the_deciding_model_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def noted(judge: object, data: object, *, seed: int, on_batch: object) -> tuple[CorruptionRecord, ...]:
        calls.append((judge, data, seed))
        return (corrupted("noise", 4, 3, 3, 2, 1),)

    monkeypatch.setattr("harden.evaluation.natural.extra_measures.accuracy_under_corruptions", noted)

    def own(x: Tensor) -> Tensor:
        raise AssertionError("the model's own logits were used")

    def deciding(x: Tensor) -> Tensor:
        return x.flatten(1)

    source = images()
    found = measured(
        ExtraMeasures(corruptions=True), MeasuredModel(own, deciding, source, 7), written_down(), print
    )
    assert calls == [(deciding, source, 7)]
    assert [record.name for record in found.corruptions] == ["noise"]


# JSON


def test_a_share_has_its_interval() -> None:
    share = Proportion(3, 4)
    said = share_as_json(share)
    assert said == {
        "value": 0.75,
        "count": 3,
        "n": 4,
        "interval": [share.interval[0], share.interval[1]],
        "confidence": 0.95,
    }


def test_a_decision_has_both_rates_and_the_robust_ones_where_they_are_trusted() -> None:
    # Of three positives all are right and one is broken; of two negatives one is wrong.
    point = operating_point(written_down())
    said = ExtraResults(0.25, point, None, None, ()).as_json()["decision"]
    assert (said["threshold"], said["positive"], said["missing"]) == (0.25, 1, [])
    assert (said["prevalence"]["count"], said["prevalence"]["n"]) == (3, 5)
    for name, clean, robust, n in (("sensitivity", 3, 2, 3), ("specificity", 1, 1, 2)):
        assert (said[name]["clean"]["count"], said[name]["clean"]["n"]) == (clean, n)
        assert said[name]["robust"]["count"] == robust
    doubted = operating_point(written_down(fired=True))
    said = ExtraResults(0.25, doubted, None, None, ()).as_json()["decision"]
    assert said["sensitivity"]["clean"]["count"] == 3
    assert said["sensitivity"]["robust"] is said["specificity"]["robust"] is None


def test_a_rate_of_no_image_is_missing() -> None:
    point = operating_point(written_down(labels=(1, 1), predictions=(1, 1), broken=()))
    said = ExtraResults(0.5, point, None, None, ()).as_json()["decision"]
    assert said["specificity"] is None
    assert said["missing"] == ["no negative image among 2: nothing is known of specificity"]


def test_calibration_is_json_with_every_bin(line: Classifier) -> None:
    found, _ = results(ExtraMeasures(calibration=True), line)
    assert found.clean is not None
    # Two errors that are equal here by chance are told apart.
    found = replace(found, clean=replace(found.clean, adaptive_ece=0.125))
    said = json.loads(json.dumps(found.as_json(), allow_nan=False))["calibration"]
    assert found.clean is not None
    clean, record = said["clean"], found.clean.reliability
    assert (clean["n"], clean["not_finite"], clean["replaced"]) == (5, 0, 0)
    assert (clean["ece"], clean["brier"]) == (record.ece, record.brier)
    assert clean["interval"] == list(record.interval())
    assert clean["adaptive_ece"] == 0.125 != record.ece
    assert sum(each["n"] for each in clean["bins"]) == 5
    assert [each["low"] for each in clean["bins"]] == [each.low for each in record.bins]
    for each in clean["bins"]:
        assert (each["accuracy"] is None) == (each["n"] == 0)
    assert said["attacked"]["replaced"] == 1


def test_corruptions_are_json_by_name_and_severity() -> None:
    records = (corrupted("noise", 4, 3, 3, 2, 1), corrupted("blur", 4, 4, 4, 4, 3))
    said = ExtraResults(None, None, None, None, records).as_json()["corruptions"]
    assert said["clean"]["count"] == 4
    assert list(said["accuracy"]) == ["noise", "blur"]
    assert list(said["accuracy"]["noise"]) == [str(severity) for severity in SEVERITIES]
    assert [each["count"] for each in said["accuracy"]["noise"].values()] == [4, 3, 3, 2, 1]
    mean = mean_accuracy(records)
    assert said["mean"] == {
        "value": pytest.approx((13 + 19) / 50),
        "n": 5,
        "interval": list(mean.interval),
        "confidence": 0.95,
    }


def test_measures_leave_the_model_and_the_images_as_they_are(line: Classifier, rng_untouched: None) -> None:
    state = {name: value.clone() for name, value in line.state_dict().items()}
    results(ExtraMeasures(0.5, calibration=True), line)
    assert all(torch.equal(value, state[name]) for name, value in line.state_dict().items())
    batch: Batch = next(iter(images().epoch(None)))
    assert torch.equal(batch.x, greys(5)[:2])
