"""Measurement of a file: the claim's parts are in the record, and what could not be measured is left out."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from harden.artefact import measure_file as subject
from harden.artefact.attack_and_prove import ExecutedFile
from harden.artefact.measure_file import (
    CURVE_ATTEMPT,
    TIME_WAS_UP,
    Claim,
    FileMeasurement,
    class_names,
    predicate,
    record,
)
from harden.artefact.parity.parity_gate import Parity
from harden.artefact.provenance import Origin
from harden.artefact.runtime.session import Session
from harden.bounds import Method
from harden.certificate import schema
from harden.data import Examples, Source, from_loader
from harden.data.dataset_digest import digest
from harden.errors import InputError
from harden.evaluation import Evaluation, Phase, pgd_suite, standard
from harden.evaluation.proofs.prove import RadiusSearch
from harden.evaluation.sweeps.accuracy_curve import AccuracyCurve
from harden.threats import Linf
from tests.deployed.lines import greys, line_file, line_model
from tests.evaluation.by_hand import greys as by_hand_images
from tests.evaluation.by_hand import written_down

CPU = torch.device("cpu")
THREAT = Linf("1/8")
PARITY = Parity(1e-5, 1e-6, (1, 3, 5))
CLAIM = Claim(THREAT, pgd_suite(3, 1))
SEARCH = RadiusSearch(Method(climb=None), steps=1)
IMAGES = (0.2, 0.4, 0.45, 0.7, 0.55, 0.8)


def source(examples: Examples | None = None) -> Source:
    return from_loader(examples or greys(*IMAGES, wrong=(3,)), 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    line_file(tmp_path)
    return tmp_path


def measured(folder: Path, claim: Claim = CLAIM, report: Any = None) -> schema.Predicate:
    session = Session(folder / "model.onnx")
    return predicate(line_model(), session, PARITY, source(), claim, folder, report or (lambda phase: None))


def test_a_claim_is_of_the_suite_standard_without_proofs_by_default() -> None:
    claim = Claim(THREAT)
    assert [each.name for each in claim.attempts] == [each.name for each in standard()]
    assert (claim.search, claim.minutes, claim.before) == (None, None, None)
    assert (claim.seed, claim.split, claim.unseen, claim.batch_size) == (0, "as given", False, 256)
    assert claim.origin is not Claim(THREAT).origin


# Names of classes


def test_names_come_from_the_data_then_numbers() -> None:
    assert class_names(source(), 2) == ("dark", "bright")
    assert class_names(source(), 4) == ("dark", "bright", "2", "3")
    assert class_names(cast(Source, SimpleNamespace()), 2) == ("0", "1")


def test_more_classes_than_logits_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        class_names(source(), 1)
    assert caught.value.seen == "2 classes in the data and 1 logits"
    assert caught.value.expected == "a logit for each class"
    assert caught.value.instead == "build the network for the classes of the data"


# The record


def by_hand(tmp_path: Path, claim: Claim = CLAIM, **more: Any) -> schema.Predicate:
    images = from_loader((by_hand_images(5), torch.tensor([0, 1, 1, 0, 1])), 2)
    measurement = FileMeasurement(images, written_down(**more), ("no", "yes"))
    return record(measurement, claim, PARITY, tmp_path, CPU)


def test_counts_are_those_of_the_evaluation_and_of_its_evidence(tmp_path: Path) -> None:
    found = by_hand(tmp_path)
    assert found.status == "ok"
    assert (found.clean.count, found.bracket.robust.count, found.bracket.certified.count) == (4, 3, 0)
    assert (found.verdicts.certified, found.verdicts.falsified, found.verdicts.unknown) == (0, 2, 3)
    assert found.evidence.witnesses == 1
    stored = np.load(tmp_path / schema.EVIDENCE_FILE)
    assert stored["index"].tolist() == [1]
    assert (found.curve, found.proof, found.comparison) == (None, None, None)
    assert [pair.index for pair in found.gallery] == [1]
    assert (found.gallery[0].label, found.gallery[0].adversarial_prediction) == ("yes", "no")


def test_an_evaluation_that_is_not_trusted_is_recorded_as_such(tmp_path: Path) -> None:
    found = by_hand(tmp_path, fired=True)
    assert found.status == "unreliable"
    assert [check.passed for check in found.checks] == [False]


def test_the_data_are_named_and_digested(tmp_path: Path) -> None:
    found = by_hand(tmp_path, replace(CLAIM, split="the test part", unseen=True)).data
    images = from_loader((by_hand_images(5), torch.tensor([0, 1, 1, 0, 1])), 2)
    assert found.digest == digest(images.epoch(None))
    assert (found.n, found.image_shape, found.classes) == (5, (1, 2, 2), ("no", "yes"))
    assert (found.split, found.unseen) == ("the test part", True)
    # Where images were not compared with those of training, nothing is said of it.
    assert by_hand(tmp_path).data.unseen is None


def test_the_origin_of_the_model_is_in_the_provenance(tmp_path: Path) -> None:
    origin = Origin(
        recipe={"name": "mine"},
        stages=(
            schema.StageRecord(name="one", objective={}, passes=100.0, epochs_equivalent=1.0, seconds=9.0),
        ),
        history=(schema.HistoryPoint(stage="one", step=3, passes=100.0, seconds=9.0, loss=0.5),),
        seeds={"training": 4},
        deterministic=False,
        device="cuda",
    )
    whole = by_hand(tmp_path, replace(CLAIM, origin=origin))
    assert whole.history == origin.history
    found = whole.provenance
    assert (found.recipe, found.seeds, found.device) == ({"name": "mine"}, {"training": 4}, "cuda")
    assert not found.deterministic
    # Those of the evaluation are added to those of training.
    assert (found.passes, found.seconds) == (142.0, 11.0)


def test_parity_is_that_of_the_gate(tmp_path: Path) -> None:
    found = by_hand(tmp_path).parity
    assert (found.tolerance, found.max_error, found.batches, found.reference) == (
        *(1e-5, 1e-6, (1, 3, 5)),
        "float64",
    )


# A file


def test_a_file_is_attacked_and_its_curve_is_measured(folder: Path) -> None:
    phases: list[Phase] = []
    found = measured(folder, report=phases.append)
    assert found.status == "ok"
    assert (found.clean.count, found.bracket.robust.count) == (5, 2)
    assert found.threat.eps == "1/8"
    assert found.curve is not None
    assert found.curve.attack == CURVE_ATTEMPT.name
    assert [phase.name for phase in phases if phase.done == 6][:2] == [
        "attack the file",
        "accuracy over eps",
    ]
    assert found.data.name == "greys"
    assert found.data.classes == ("dark", "bright")
    assert found.comparison is None


def test_what_the_curve_breaks_at_eps_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def curve(
        model: object, source: object, found: Evaluation, attempt: object, **_: object
    ) -> AccuracyCurve:
        worse = replace(found, broken=torch.ones_like(found.broken))
        return AccuracyCurve(((Linf(0), found.clean), (THREAT, worse.robust)), worse)

    monkeypatch.setattr(subject, "accuracy_curve", curve)
    found = measured(folder)
    assert found.bracket.robust.count == 0
    assert found.verdicts.falsified == 6


def test_radii_are_proved_where_a_search_is_given(folder: Path) -> None:
    found = measured(folder, replace(CLAIM, search=SEARCH))
    assert found.proof is not None
    assert [(point.eps, point.certified.count) for point in found.proof.points] == [("1/16", 3), ("1/8", 2)]
    assert found.bracket.certified.count == found.verdicts.certified == 2


def test_a_file_without_bounds_or_with_another_runtime_has_no_proof_and_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unbounded(*_: object) -> None:
        raise InputError("operation Atan has no bound rule", "one", "write one")

    def apart(*_: object) -> SimpleNamespace:
        return SimpleNamespace(disagreement="outputs left their bounds")

    for prove, said in (
        (unbounded, "no proof was tried: operation Atan has no bound rule; expected one; write one"),
        (apart, "nothing is proved: outputs left their bounds"),
    ):
        caplog.clear()
        monkeypatch.setattr(ExecutedFile, "prove", prove)
        with caplog.at_level(logging.WARNING, "harden"):
            found = measured(folder, replace(CLAIM, search=SEARCH))
        assert (found.proof, found.bracket.certified.count) == (None, 0)
        assert said in caplog.messages


def test_another_model_is_compared_on_the_same_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the other sign: all is wrong but the one image whose label is."""
    other = line_model(-1.0)
    session = Session(folder / "model.onnx")
    claim = replace(CLAIM, before=other, before_name="the one before")
    monkeypatch.setattr(subject, "exported", lambda *_: (b"", "other", PARITY))
    judges = {id(session): line_model().logits}
    monkeypatch.setattr(subject, "judge_of", lambda one: judges.get(id(one), other.logits))
    phases: list[Phase] = []
    found = predicate(line_model(), session, PARITY, source(), claim, folder, phases.append)
    assert found.comparison is not None
    assert found.comparison.name == "the one before"
    assert (found.comparison.clean.count, found.comparison.robust.count) == (1, 1)
    assert "attack the one before" in {phase.name for phase in phases}
    # It is compared, and changes nothing of the file's own numbers.
    assert found.clean.count == 5


def test_a_model_to_compare_with_that_is_not_trusted_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[int] = []

    def by_turns(x: Tensor) -> Tensor:
        turns.append(1)
        return line_model().logits(x) * float((-1) ** len(turns))

    session = Session(folder / "model.onnx")
    monkeypatch.setattr(subject, "exported", lambda *_: (b"", "other", PARITY))
    monkeypatch.setattr(subject, "judge_of", lambda one: line_model().logits if one is session else by_turns)
    claim = replace(CLAIM, before=line_model())
    with caplog.at_level(logging.WARNING, "harden"):
        found = predicate(line_model(), session, PARITY, source(), claim, folder, lambda phase: None)
    assert found.comparison is not None
    assert found.comparison.status == "unreliable"
    assert found.status == "ok"
    assert any(said.startswith("before hardening is unreliable: ") for said in caplog.messages)


def test_of_a_part_the_split_says_so_and_what_had_no_time_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ExecutedFile.attack
    plans: list[float | None] = []

    def first_four(file: Any, images: Source, plan: Any, on_batch: Any = None) -> Any:
        plans.append(plan.minutes)
        few = from_loader(greys(*IMAGES[:4], wrong=(3,)), 4)
        return replace(whole(file, few, replace(plan, minutes=None)), left=2)

    monkeypatch.setattr(ExecutedFile, "attack", first_four)
    monkeypatch.setattr(subject, "in_time", lambda pace, what, work: None)
    found = measured(folder, replace(CLAIM, minutes=60.0, split="the test part"))
    assert found.data.n == 4
    assert found.data.digest == digest(source(greys(*IMAGES[:4], wrong=(3,))).epoch(None))
    assert found.data.split == f"the test part, the first 4 of 6 images: {TIME_WAS_UP}"
    assert (found.curve, found.comparison) == (None, None)
    # The attacks get a share of the time, and all of it is given to none.
    assert plans[0] is not None
    assert 0 < plans[0] < 60
