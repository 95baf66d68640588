"""Certification of a file: shares of the time, the journal's parts, and a bracket of robust accuracy."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harden.artefact.attack_and_prove import AttackPlan
from harden.bounds import Branching, Method
from harden.certificate.canonical_json import sha256_file
from harden.data import Examples, Source, from_loader
from harden.data.dataset_digest import digest
from harden.deployed.certify_file import (
    ATTACK_SHARE,
    LEAST_MINUTES,
    CertifyPlan,
    FileProofs,
    attack_then_prove,
    certify,
)
from harden.deployed.onnx_classifier import OnnxClassifier
from harden.errors import InputError
from harden.evaluation import Phase, pgd_suite, quick
from harden.evaluation.proofs.prove import ProofResult, RadiusSearch
from harden.threats import Linf
from tests.deployed.lines import greys, line_file
from tests.evaluation.by_hand import written_down

THREAT, SUITE = Linf("1/8"), pgd_suite(2, 1)
CROWN = Method(climb=None)
SEARCH = RadiusSearch(CROWN, steps=1)
VALUES = (0.2, 0.4, 0.45, 0.7, 0.55, 0.8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return line_file(tmp_path)


@pytest.fixture
def images() -> Examples:
    return greys(*VALUES, wrong=(3,))


def plan(
    minutes: float | None = None,
    journal: Path | None = None,
    search: RadiusSearch = SEARCH,
    **more: Any,
) -> CertifyPlan:
    compared: Source = from_loader(greys(0.2, 0.8), 2)
    return CertifyPlan(AttackPlan(THREAT, SUITE, 3, minutes, journal), search, compared, **more)


# The plan


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_of_time_is_a_positive_number(minutes: float) -> None:
    with pytest.raises(InputError) as caught:
        plan(minutes)
    assert caught.value.seen == f"--minutes {minutes:g}"
    assert caught.value.expected == "a positive number"
    assert caught.value.instead == "write --minutes 5 (in Python minutes=5)"


def test_attacks_have_their_share_of_the_time_and_of_the_journal(tmp_path: Path) -> None:
    alone = plan(10.0, tmp_path).attack_alone
    assert alone.minutes == ATTACK_SHARE * 10 == 4.0
    assert alone.journal == tmp_path / "attack"
    assert (alone.threat, alone.attempts, alone.seed) == (THREAT, SUITE, 3)
    free = plan().attack_alone
    assert (free.minutes, free.journal) == (None, None)


def test_a_link_in_place_of_the_attacks_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "attack").symlink_to(tmp_path.parent)
    with pytest.raises(InputError, match="a link; expected a folder of harden's own"):
        assert plan(None, tmp_path).attack_alone


def test_the_search_has_what_the_attacks_leave() -> None:
    assert plan().search_after(1e6) is SEARCH
    assert plan(10.0).search_after(120.0) == replace(SEARCH, minutes=8.0)
    # Where nothing is left, the search ends at once, and does not run without a limit.
    assert plan(10.0).search_after(1e6).minutes == LEAST_MINUTES > 0


def test_branching_goes_on_for_the_time_that_is_left() -> None:
    search = replace(SEARCH, method=replace(CROWN, branching=Branching(seconds=1.0, parts=5)))
    found = plan(10.0, search=search).search_after(120.0)
    assert found.method.branching == Branching(seconds=480.0, parts=None)
    assert plan(search=search).search_after(120.0) is search


def facts_of(journal: Path) -> dict[str, Any]:
    line: dict[str, Any] = json.loads((journal / "proofs.jsonl").read_text().splitlines()[0])
    found: dict[str, Any] = line["plan"]
    return found


def test_the_journal_of_proofs_holds_all_that_they_depend_on(tmp_path: Path, images: Examples) -> None:
    source = from_loader(images, 4)
    assert plan().proof_journal("ab", source) is None
    plan(5.0, tmp_path).proof_journal("ab", source)
    facts = facts_of(tmp_path)
    assert facts["file"] == "ab"
    assert facts["images"] == digest(source.epoch(None))
    assert facts["seed"] == 3
    assert list(facts["attacks"]) == [attempt.name for attempt in SUITE]
    assert "onnxruntime" in facts["runtime"]
    assert facts["code"]
    # The limit of time is no part of a result: with more time the search goes on.
    plan(9.0, tmp_path).proof_journal("ab", source)
    plan(9.0, tmp_path, search=replace(SEARCH, minutes=2.0)).proof_journal("ab", source)
    for other in (
        plan(5.0, tmp_path, suite="quick"),
        plan(5.0, tmp_path, search=replace(SEARCH, steps=2)),
    ):
        with pytest.raises(InputError, match="another"):
            other.proof_journal("ab", source)
    with pytest.raises(InputError, match="another"):
        plan(5.0, tmp_path).proof_journal("cd", source)


def test_a_suite_may_be_named_in_place_of_its_description(tmp_path: Path, images: Examples) -> None:
    plan(None, tmp_path, suite="quick").proof_journal("ab", from_loader(images, 4))
    assert facts_of(tmp_path)["attacks"] == "quick"


# The result


def test_certified_and_robust_bracket_the_truth() -> None:
    inner = ProofResult(written_down(), torch.tensor([2, 1, 1, 0, 0]), SEARCH, 1.0)
    found = FileProofs(inner, "ab")
    assert found.found is inner.found
    assert (found.certified.count, found.robust.count, found.clean.count) == (1, 3, 4)
    assert found.verdicts == ["certified", "falsified", "unknown", "falsified", "unknown"]
    assert found.radii == [Fraction(k, 16) for k in (2, 1, 1, 0, 0)]
    assert found.status == "ok"
    assert FileProofs(replace(inner, found=written_down(fired=True)), "ab").status == "unreliable"
    assert found.complete
    assert not FileProofs(replace(inner, unsettled=1), "ab").complete
    assert not FileProofs(replace(inner, found=written_down(left=1)), "ab").complete


def test_images_of_a_line_are_proved_up_to_it(path: Path, images: Examples) -> None:
    phases: list[Phase] = []
    found = certify(path, images, THREAT, SUITE, search=SEARCH, batch_size=4, on_phase=phases.append)
    assert found.sha256 == sha256_file(path)
    assert found.verdicts == [
        *("certified", "falsified", "falsified", "falsified", "falsified", "certified"),
    ]
    # In halves of 1/8: 0.4 is 0.1 from the line.
    assert found.radii == [Fraction(k, 16) for k in (2, 1, 0, 0, 0, 2)]
    names = [phase.name for phase in phases]
    assert names == sorted(names)
    assert set(names) == {"attack", "prove"}
    assert [phase.done for phase in phases if phase.name == "attack"] == [4, 6]


def test_attacks_are_quick_and_radii_are_sixteenths_by_default(path: Path) -> None:
    found = certify(path, greys(0.1, 0.45), THREAT)
    given = [record.name for record in found.found.attempts]
    assert given[: len(quick())] == [attempt.name for attempt in quick()]
    assert found.proved.search == RadiusSearch()
    assert found.radii == [Fraction(1, 8), Fraction(6, 16 * 8)]


def test_a_journal_holds_both_parts_and_is_read_again(path: Path, images: Examples, tmp_path: Path) -> None:
    kept = tmp_path / "journal"
    first = certify(path, images, THREAT, SUITE, search=SEARCH, journal=kept)
    assert {each.name for each in kept.iterdir()} >= {"attack", "proofs.jsonl"}
    whole = (kept / "proofs.jsonl").read_bytes()
    assert whole.count(b"\n") > 1  # the plan, and what was proved
    again = certify(path, images, THREAT, SUITE, search=SEARCH, journal=str(kept))
    assert again.verdicts == first.verdicts
    assert (kept / "proofs.jsonl").read_bytes() == whole
    with pytest.raises(InputError, match="another seed"):
        certify(path, images, THREAT, SUITE, search=SEARCH, journal=kept, seed=1)


def test_time_that_the_attacks_took_is_not_the_searchs(
    path: Path, images: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that stays, from a beginning that was 60 seconds before."""
    file, seen = OnnxClassifier.load(path, (1, 2, 2)), list[float | None]()
    after = CertifyPlan.search_after

    def noted(self: CertifyPlan, seconds: float) -> RadiusSearch:
        seen.append(seconds)
        return after(self, seconds)

    monkeypatch.setattr(CertifyPlan, "search_after", noted)
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr("harden.deployed.certify_file.time", clock)
    source = from_loader(images, 4)
    attack_then_prove(file, source, plan(began=940.0))
    attack_then_prove(file, source, plan())
    assert seen == [60.0, 0.0]


def test_an_operation_without_a_bound_is_refused_before_the_attacks(
    path: Path, images: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unbounded(self: OnnxClassifier, device: object = "cpu") -> None:
        raise InputError("operation Atan has no bound rule", "one", "write one")

    monkeypatch.setattr(OnnxClassifier, "executions", unbounded)
    phases: list[Phase] = []
    with pytest.raises(InputError, match="no bound rule"):
        certify(path, images, THREAT, SUITE, on_phase=phases.append)
    assert phases == []


def test_wrong_arguments_are_refused(path: Path, images: Examples) -> None:
    with pytest.raises(InputError, match="expected Linf, L2 or L1"):
        certify(path, images, "linf")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InputError, match="where no ONNX file is"):
        certify(path.with_name("none.onnx"), images, THREAT)
    with pytest.raises(InputError, match="device"):
        certify(path, images, THREAT, device="tpu:x")
