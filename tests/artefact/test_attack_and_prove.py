"""Attack and proof of a file as it is executed: the plan reaches the attacks, and a proof is of this file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harden.artefact.attack_and_prove import AttackPlan, ExecutedFile, no_report
from harden.artefact.parity.parity_gated_export import judge_of
from harden.artefact.runtime.executed_programs import executions
from harden.artefact.runtime.session import Session
from harden.bounds import Method
from harden.data import Source, from_loader
from harden.errors import InputError
from harden.evaluation import EvaluationProgress, Phase, evaluate, pgd_suite
from harden.evaluation.proofs.proof_journal import ProofJournal
from harden.evaluation.proofs.prove import RadiusSearch
from harden.evaluation.proofs.runtime_agreement import Execution
from harden.threats import Linf
from tests.deployed.lines import greys, line_model, line_net

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT, SUITE = Linf("1/8"), pgd_suite(3, 1)
SEARCH = RadiusSearch(Method(climb=None), steps=1)
PLAN = AttackPlan(THREAT, SUITE)
CONTENT = line_net().SerializeToString()


@pytest.fixture(scope="module")
def images() -> Source:
    """Out of reach, in reach of eps alone, in reach of eps / 2, wrong, in reach, out of reach."""
    return from_loader(greys(0.2, 0.4, 0.45, 0.7, 0.55, 0.8, wrong=(3,)), 4)


@pytest.fixture(scope="module")
def graphs() -> Sequence[Execution]:
    return executions(CONTENT)


@pytest.fixture
def file(graphs: Sequence[Execution]) -> ExecutedFile:
    return ExecutedFile(line_model(), judge_of(Session(CONTENT)), lambda: graphs)


def test_a_plan_has_no_limit_and_no_journal_by_default() -> None:
    assert (PLAN.seed, PLAN.minutes, PLAN.journal) == (0, None, None)


def test_progress_is_ignored_without_a_report() -> None:
    no_report(Phase("attack", 1, 2))
    assert no_report.__doc__ is not None


def test_the_file_decides_and_the_model_gives_the_gradients(file: ExecutedFile, images: Source) -> None:
    found = file.attack(images, PLAN)
    assert found.clean_correct.tolist() == [True, True, True, False, True, True]
    assert found.broken.tolist() == [False, True, True, False, True, False]
    expected = evaluate(file.model, images, THREAT, SUITE, judge=file.judge)
    assert torch.equal(found.witnesses.witness, expected.witnesses.witness)


def test_another_judge_decides_otherwise(file: ExecutedFile, images: Source) -> None:
    def contrary(x: Tensor) -> Tensor:
        return -file.judge(x)

    found = ExecutedFile(file.model, contrary, file.executions).attack(images, PLAN)
    assert found.clean.count == 1


def test_the_plan_reaches_the_attacks(file: ExecutedFile, images: Source, tmp_path: Path) -> None:
    steps: list[EvaluationProgress] = []
    plan = AttackPlan(Linf("1/100"), SUITE[:1], seed=5, journal=tmp_path / "kept")
    found = file.attack(images, plan, steps.append)
    assert found.threat == Linf("1/100")
    assert found.attempts[0].name == SUITE[0].name
    assert [at.done for at in steps] == [4, 6]
    assert len(list((tmp_path / "kept").glob("batch*"))) == 2
    with pytest.raises(InputError, match="another seed"):
        file.attack(images, AttackPlan(Linf("1/100"), SUITE[:1], seed=6, journal=tmp_path / "kept"))


def test_a_limit_of_time_reaches_the_attacks(file: ExecutedFile, images: Source) -> None:
    with pytest.raises(InputError, match="no image that was finished in 1e-09 minutes"):
        file.attack(images, AttackPlan(THREAT, SUITE, minutes=1e-9))


def test_radii_are_proved_up_to_the_line_and_no_image_is_both_proved_and_broken(
    file: ExecutedFile, images: Source
) -> None:
    found = file.attack(images, PLAN)
    phases: list[Phase] = []
    proved = file.prove(images, found, SEARCH, phases.append)
    # In halves of 1/8: 0.4 and 0.6 are 0.1 from the line, 0.45 and 0.55 are 0.05.
    assert proved.levels.tolist() == [2, 1, 0, 0, 0, 2]
    assert not bool((proved.certified & found.broken).any())
    assert {phase.name for phase in phases} == {"prove"}
    assert phases[-1].done == phases[-1].total
    assert phases[-1].robust is None


def test_executions_are_computed_when_a_proof_is_tried(
    graphs: Sequence[Execution], images: Source, file: ExecutedFile
) -> None:
    calls: list[int] = []

    def computed() -> Sequence[Execution]:
        calls.append(1)
        return graphs

    late = ExecutedFile(file.model, file.judge, computed)
    found = late.attack(images, PLAN)
    assert calls == []
    late.prove(images, found, SEARCH)
    assert calls == [1]


def test_an_operation_without_a_bound_is_an_error_of_the_proof_alone(
    images: Source, file: ExecutedFile
) -> None:
    def without() -> Sequence[Execution]:
        raise InputError("operation Atan has no bound rule", "one", "write one")

    unbounded = ExecutedFile(file.model, file.judge, without)
    found = unbounded.attack(images, PLAN)
    with pytest.raises(InputError, match="no bound rule"):
        unbounded.prove(images, found, SEARCH)


def test_a_journal_keeps_each_finished_part_of_the_proof(
    file: ExecutedFile, images: Source, tmp_path: Path
) -> None:
    found = file.attack(images, PLAN)
    path = tmp_path / "proofs.jsonl"
    first = file.prove(images, found, SEARCH, journal=ProofJournal(path, {"eps": "1/8"}))
    whole = path.read_bytes()
    assert whole.count(b"\n") > 1
    again = file.prove(images, found, SEARCH, journal=ProofJournal(path, {"eps": "1/8"}))
    assert torch.equal(again.levels, first.levels)
    assert path.read_bytes() == whole


def test_images_are_arranged_for_the_file_that_takes_them_otherwise(
    file: ExecutedFile, images: Source, graphs: Sequence[Execution]
) -> None:
    """1 - x: the file sees the images of the other side of the line, so nothing is proved."""
    found = file.attack(images, PLAN)
    turned = ExecutedFile(file.model, file.judge, lambda: graphs, arrange=lambda x: 1 - x)
    assert turned.prove(images, found, SEARCH).levels.tolist() == [0] * 6
