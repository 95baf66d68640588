"""Verdicts and radii: nothing is both proved and broken, and a search that was cut short says so."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.artefact.classifier_to_onnx import trace
from harden.artefact.runtime.session import Session
from harden.bounds import Branching, Method, Program, SlopeAscent, certify
from harden.data import Splits, from_loader, load
from harden.errors import InputError
from harden.evaluation import Evaluation, Witnesses, evaluate, quick
from harden.evaluation.proofs.proof_journal import ProofJournal
from harden.evaluation.proofs.proof_report import ProofReport
from harden.evaluation.proofs.prove import (
    POINTS,
    REGIONS,
    VERDICTS,
    EvaluatedImages,
    ProofResult,
    RadiusSearch,
    _Prover,
    prove,
)
from harden.evaluation.proofs.runtime_agreement import Execution
from harden.graph import read
from harden.models import Classifier
from harden.threats import Linf
from tests.fitted import fitted

SCHEMA = Path(__file__).parents[3] / "docs" / "certification.schema.json"
EPS = Linf("1/24")
CROWN = Method(climb=None, batch=16)
SEARCH = RadiusSearch(CROWN, steps=3)
Data = tuple[Tensor, Tensor]


def unchecked(program: Program) -> Execution:
    """A graph that no runtime is compared with."""
    return Execution(program, ("disabled",), {})


@pytest.fixture(scope="module")
def data() -> Data:
    digits: Splits = load("digits")
    return digits.test.x[:60].float(), digits.test.y[:60]


def fitted_classifier() -> Classifier:
    return Classifier(fitted(load("digits"), 60))


@pytest.fixture(scope="module")
def model() -> Classifier:
    return fitted_classifier()


@pytest.fixture(scope="module")
def program(model: Classifier) -> Program:
    return Program.of(read(trace(model, (1, 8, 8))))


def images(data: object, found: Evaluation, batch_size: int = 256) -> EvaluatedImages:
    return EvaluatedImages(from_loader(data, batch_size), found)


@pytest.fixture(scope="module")
def found(model: Classifier, data: Data) -> Evaluation:
    return evaluate(model, data, EPS, quick())


@pytest.fixture(scope="module")
def proved(program: Program, data: Data, found: Evaluation) -> ProofResult:
    return prove([unchecked(program)], images(data, found), SEARCH)


def test_every_image_has_one_verdict(proved: ProofResult) -> None:
    assert {*proved.verdicts} == {*VERDICTS}  # all three occur, or the test says little
    for verdict, certified, right in zip(
        proved.verdicts, proved.certified.tolist(), proved.found.robust_correct.tolist(), strict=True
    ):
        assert (verdict == "certified") == certified
        assert (verdict == "falsified") == (not right)


def test_a_radius_is_proved_and_the_next_one_is_not(
    proved: ProofResult, program: Program, data: Data
) -> None:
    x, y = data
    for level in range(1, proved.top + 1):
        threat = EPS.scaled(Fraction(level, proved.top))
        at = proved.levels == level
        assert bool(certify(program, x[at], y[at], threat, CROWN).certified.all())
        below = (proved.levels == level - 1) & proved.found.clean_correct
        if level == proved.top:
            below &= proved.found.robust_correct  # what is broken at eps is not tried there
        assert not bool(certify(program, x[below], y[below], threat, CROWN).certified.any())


def test_radii_are_fractions_of_eps_and_the_curve_falls(proved: ProofResult) -> None:
    assert set(proved.radii) <= {Fraction(level, 192) for level in range(9)}
    shares = [share.count for _, share in proved.curve]
    assert shares == sorted(shares, reverse=True)
    assert [eps for eps, _ in proved.curve] == [Fraction(level, 192) for level in range(1, 9)]
    assert shares[-1] == proved.verdicts.count("certified") == int(proved.certified.sum())
    assert shares[0] > shares[-1]


def test_what_is_wrong_as_it_is_has_no_radius(proved: ProofResult) -> None:
    wrong = ~proved.found.clean_correct
    assert int(wrong.sum()) > 0
    assert proved.levels[wrong].tolist() == [0] * int(wrong.sum())


def test_a_better_method_proves_no_less(proved: ProofResult, program: Program, data: Data) -> None:
    ascended = prove(
        [unchecked(program)],
        images(data, proved.found),
        replace(SEARCH, method=Method(climb=SlopeAscent(steps=5))),
    )
    assert bool((ascended.levels >= proved.levels).all())
    intervals = prove(
        [unchecked(program)],
        images(data, proved.found),
        RadiusSearch(Method(climb=None, backward=False), steps=3),
    )
    assert bool((intervals.levels <= proved.levels).all())


def test_batches_change_nothing(proved: ProofResult, program: Program, data: Data) -> None:
    other = prove(
        [unchecked(program)],
        images(data, proved.found, 11),
        RadiusSearch(replace(CROWN, batch=7), steps=3),
    )
    assert torch.equal(other.levels, proved.levels)


def test_a_witness_within_a_proved_radius_is_a_fault_of_ours(
    program: Program, data: Data, found: Evaluation, proved: ProofResult
) -> None:
    at = int(proved.levels.argmax())
    forged = found.witnesses
    x = data[0][at][None]
    more = Witnesses(
        torch.cat([forged.index, torch.tensor([at])]),
        torch.cat([forged.label, data[1][at][None]]),
        torch.cat([forged.prediction, data[1][at][None]]),
        torch.cat([forged.original, x]),
        torch.cat([forged.witness, x]),
    )
    with pytest.raises(RuntimeError, match=f"image {at} is proved within"):
        prove([unchecked(program)], images(data, replace(found, witnesses=more)), SEARCH)


def test_without_time_nothing_is_proved_and_that_is_said(
    program: Program, data: Data, found: Evaluation
) -> None:
    none = prove([unchecked(program)], images(data, found), replace(SEARCH, minutes=1e-9))
    assert none.left == found.robust.count > 0
    assert none.levels.tolist() == [0] * 60
    report = ProofReport.of(none, "0" * 64, 0)
    assert (report.complete, report.left, report.counts.certified) == (False, none.left, 0)


def test_a_proof_that_time_did_not_suffice_to_compare_is_none(
    program: Program, data: Data, found: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that takes a minute for each call: the first regions are compared, and no more are."""
    clock = SimpleNamespace(now=0.0)
    for module in ("evaluation.proofs.prove", "bounds.certification"):
        monkeypatch.setattr(f"harden.{module}.time", SimpleNamespace(monotonic=lambda: clock.now))
    session = Session(trace(fitted_classifier(), (1, 8, 8)).SerializeToString())

    def slow(x: NDArray[np.float32]) -> NDArray[np.float32]:
        clock.now += 60.0
        return session(x)

    prover = _Prover([Execution(program, ("all",), {"all": slow})], torch.device("cpu"))
    x, y = (each[found.robust_correct] for each in data)
    every = prover(x, y, EPS, CROWN)
    assert int(every.certified.sum()) > REGIONS
    assert not every.stopped
    clock.now = 0.0
    some = prover(x, y, EPS, CROWN, until=30.0)
    proved = every.certified.nonzero().flatten().tolist()
    assert some.certified.nonzero().flatten().tolist() == proved[:REGIONS]
    assert some.stopped == set(proved[REGIONS:])


def test_witnesses_are_compared_for_a_share_of_the_time(
    program: Program, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, sizes = SimpleNamespace(now=0.0), list[int]()
    monkeypatch.setattr("harden.evaluation.proofs.prove.time", SimpleNamespace(monotonic=lambda: clock.now))

    def slow(x: NDArray[np.float32]) -> NDArray[np.float32]:
        clock.now += 1.0
        sizes.append(len(x))
        return session(x)

    session = Session(trace(fitted_classifier(), (1, 8, 8)).SerializeToString())
    prover = _Prover([Execution(program, ("all",), {"all": slow})], torch.device("cpu"))
    prover.compare_at(torch.cat([data[0], data[0]]), 1.5)
    assert sizes == [POINTS, POINTS]


class Stop(Exception):
    pass


def test_an_interrupted_search_goes_on_to_the_same_end(
    program: Program, data: Data, found: Evaluation, proved: ProofResult, tmp_path: Path
) -> None:
    path, parts = tmp_path / "proofs.jsonl", []

    def third(_: object) -> None:
        parts.append(1)
        if len(parts) == 3:
            raise Stop

    with pytest.raises(Stop):
        prove(
            [unchecked(program)],
            images(data, found),
            SEARCH,
            journal=ProofJournal(path, {"eps": "1/10"}),
            on_proof=third,
        )
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])  # the power went while the last line was written
    kept = ProofJournal(path, {"eps": "1/10"})
    assert path.read_bytes().count(b"\n") == 3  # the plan and two parts
    again = prove([unchecked(program)], images(data, found), SEARCH, journal=kept)
    assert torch.equal(again.levels, proved.levels)
    once_more = prove(
        [unchecked(program)],
        images(data, found),
        replace(SEARCH, minutes=1e-9),
        journal=ProofJournal(path, {"eps": "1/10"}),
    )
    assert torch.equal(once_more.levels, proved.levels)  # all of it was read, nothing had to be tried


def test_what_a_share_of_time_did_not_prove_is_tried_again(
    program: Program, data: Data, found: Evaluation, tmp_path: Path
) -> None:
    branching = Branching(seconds=None, parts=1)
    hurried = RadiusSearch(replace(CROWN, branching=branching, batch=1), steps=0, minutes=60)
    path = tmp_path / "proofs.jsonl"
    proved = prove([unchecked(program)], images(data, found), hurried, journal=ProofJournal(path, {}))
    assert 0 < int(proved.certified.sum()) < found.robust.count
    kept = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert len(kept) == int(proved.certified.sum())
    assert all(all(line["proved"]) for line in kept)


def test_given_levels_are_tried_one_after_the_other(
    program: Program, data: Data, found: Evaluation, proved: ProofResult
) -> None:
    rising = prove([unchecked(program)], images(data, found), replace(SEARCH, levels=(2, 4)))
    least = proved.levels.clamp(max=4)
    assert rising.levels.tolist() == [0 if level < 2 else 2 if level < 4 else 4 for level in least.tolist()]
    assert (rising.search.tried, rising.left) == ((2, 4), 0)
    none = prove([unchecked(program)], images(data, found), replace(SEARCH, levels=(2,), minutes=1e-9))
    assert none.left == int(found.clean_correct.sum())


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1},
        {"steps": 17},
        {"minutes": 0.0},
        {"minutes": -1.0},
        {"levels": (0, 1)},
        {"levels": (2, 2)},
        {"levels": (17,)},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        RadiusSearch(**wrong)


def test_other_data_are_refused(program: Program, data: Data, found: Evaluation) -> None:
    with pytest.raises(InputError, match="labels that differ from those of the evaluation"):
        prove([unchecked(program)], images((data[0], data[1].flip(0)), found), SEARCH)


def test_the_report_holds_all_of_it(proved: ProofResult) -> None:
    report = ProofReport.of(proved, "ab" * 32, 7)
    said = json.loads(report.model_dump_json())
    assert ProofReport.model_validate(said) == report
    assert sum(said["counts"].values()) == said["n"] == 60
    assert said["certified"]["count"] == said["counts"]["certified"]
    assert len(said["verdicts"]) == len(said["radii"]) == 60
    assert [Fraction(radius) for radius in said["radii"]] == proved.radii
    assert said["method"] == "CROWN, adaptive slopes; deployed float32"
    assert said["settings"]["method"]["batch"] == 16
    assert any("TF32" in limit for limit in said["limits"])


def test_the_schema_in_the_docs_is_that_of_the_report() -> None:
    made = json.dumps(ProofReport.model_json_schema(), indent=1, sort_keys=True) + "\n"
    assert SCHEMA.read_text() == made, "write it again: python -m tests.evaluation.proofs.test_prove"


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(ProofReport.model_json_schema(), indent=1, sort_keys=True) + "\n")
