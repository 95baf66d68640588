"""Levels of evidence: which attacks are possible with what may be used, and what decides."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import onnx
import pytest
import torch
from torch import Tensor

from harden.attacks import PGD, RandomNoise, Square
from harden.data import Source, from_loader
from harden.deployed.evidence_level import (
    MEANING,
    QUERIES,
    AttackSetup,
    EvidenceLevel,
    FileAccess,
    attack_setup,
    gradient_free,
)
from harden.deployed.onnx_classifier import OnnxClassifier
from harden.errors import InputError
from harden.evaluation import Attempt, pgd_suite
from harden.evaluation.transfer.distilled_student import Student
from harden.losses import CrossEntropy, Margin
from harden.models import Classifier
from tests.bounds.networks import Builder
from tests.deployed.lines import greys, line_file, line_model

SUITE = pgd_suite(2, 1)
SQUARE = Attempt("own square", Square(queries=7), CrossEntropy, black_box=True)
EXTRA = Attempt("extra", PGD(3), Margin, if_gradients_fail=True)


@pytest.fixture
def source() -> Source:
    return from_loader(greys(0.2, 0.45, 0.55, 0.8), 4)


@pytest.fixture
def file(tmp_path: Path) -> OnnxClassifier:
    return OnnxClassifier.load(line_file(tmp_path), (1, 2, 2))


@pytest.fixture
def unreadable(tmp_path: Path) -> OnnxClassifier:
    net = Builder((1, 2, 2))
    net.add("Sin")
    net.add("Flatten")
    net.dense(4, 2)
    onnx.save(net.model(), tmp_path / "sine.onnx")
    return OnnxClassifier.load(tmp_path / "sine.onnx", (1, 2, 2))


def names(setup: AttackSetup) -> list[str]:
    return [attempt.name for attempt in setup.attempts]


def test_each_level_has_a_meaning() -> None:
    assert tuple(MEANING) == get_args(EvidenceLevel) == ("A", "B", "C")


def test_a_file_may_be_used_in_full_by_default() -> None:
    access = FileAccess()
    assert (access.twin, access.black_box, access.mean, access.std, access.device) == (
        *(None, False, None, None),
        "cpu",
    )


# A: the file's own gradients


def test_a_file_that_is_read_is_attacked_through_its_own_graph(file: OnnxClassifier, source: Source) -> None:
    found = attack_setup(file, FileAccess(), source, SUITE)
    assert found.level == "A"
    assert found.attempts == SUITE
    assert found.decided_by == f"{file.path} in onnxruntime, white box through its own graph"
    x = greys(0.2, 0.6).x.requires_grad_()
    (gradient,) = torch.autograd.grad(found.model.logits(x)[:, 1].sum(), x)
    assert bool((gradient == 1).all())
    assert torch.equal(found.judge(x.detach()), file.judge(x.detach()))


def test_a_twin_attacks_too(file: OnnxClassifier, source: Source) -> None:
    twin = line_model(2.0)
    found = attack_setup(file, FileAccess(twin), source, (*SUITE, SQUARE, EXTRA))
    own = [attempt.name for attempt in SUITE]
    assert found.level == "A"
    # What is made where gradients fail is made for the file alone.
    assert names(found) == [
        *own,
        "own square",
        "extra",
        *(f"{name}-transfer" for name in own),
        "own square-transfer",
    ]
    transferred = [attempt for attempt in found.attempts if attempt.name.endswith("-transfer")]
    assert all(attempt.source is twin for attempt in transferred)
    assert not any(attempt.black_box for attempt in transferred)
    assert [attempt.attack for attempt in transferred[:2]] == [attempt.attack for attempt in SUITE]


# C and B: without its graph


def test_on_request_the_file_is_queried_alone(file: OnnxClassifier, source: Source) -> None:
    found = attack_setup(file, FileAccess(black_box=True), source, SUITE)
    assert found.level == "C"
    assert found.decided_by == f"{file.path} in onnxruntime, without its graph (black box was requested)"
    assert names(found) == ["square"]
    assert not found.model.logits(greys(0.3).x.requires_grad_()).requires_grad


def test_a_file_that_is_not_read_is_queried_alone_and_says_why(
    unreadable: OnnxClassifier, source: Source
) -> None:
    found = attack_setup(unreadable, FileAccess(), source, (*SUITE, SQUARE))
    assert found.level == "C"
    assert "without its graph" in found.decided_by
    assert "Sin" in found.decided_by
    assert names(found) == ["own square"]


@pytest.mark.parametrize("black_box", [False, True])
def test_with_a_twin_transfer_comes_first(
    unreadable: OnnxClassifier, source: Source, black_box: bool
) -> None:
    twin = line_model()
    found = attack_setup(unreadable, FileAccess(twin, black_box), source, (*SUITE, EXTRA))
    assert found.level == "B"
    assert names(found) == [*(f"{attempt.name}-transfer" for attempt in SUITE), "extra"]
    assert [attempt.source for attempt in found.attempts] == [twin, twin, None]
    assert [attempt.black_box for attempt in found.attempts] == [False, False, True]


def test_a_reading_that_differs_is_an_error_and_no_lower_level(
    file: OnnxClassifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = file.judge
    monkeypatch.setattr(OnnxClassifier, "judge", lambda self, x: own(x) + 1)
    with pytest.raises(InputError, match="whose reading computes something else"):
        attack_setup(file, FileAccess(), source, SUITE)


def test_the_limit_of_time_reaches_the_comparison(
    file: OnnxClassifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def reading(self: OnnxClassifier, source: Source, minutes: float | None) -> tuple[None, Classifier]:
        seen.append(minutes)
        return None, line_model()

    monkeypatch.setattr(OnnxClassifier, "reading", reading)
    attack_setup(file, FileAccess(), source, SUITE, 2.5)
    assert seen == [2.5]


# Attempts without gradients


def test_a_suite_without_one_gets_square() -> None:
    (found,) = gradient_free(SUITE)
    assert found == Attempt("square", Square(queries=QUERIES, stop_early=True), Margin, black_box=True)


def test_a_suites_own_queries_query_the_file_and_surrogates_stay_what_they_are() -> None:
    student = Attempt("student", PGD(3), Margin, source=Student(), if_gradients_fail=True)
    noise = Attempt("noise", RandomNoise(3))
    found = gradient_free((*SUITE, SQUARE, noise, student))
    assert [attempt.name for attempt in found] == ["own square", "noise", "student"]
    assert [attempt.black_box for attempt in found] == [True, True, False]
    assert found[0].attack == SQUARE.attack
    assert found[2] == student


def test_what_queries_alone_finds_an_image_at_the_line(file: OnnxClassifier, source: Source) -> None:
    """The setup is one that can be evaluated: a black box breaks what is near the line."""
    from harden.evaluation.robust_accuracy import evaluate_unchecked
    from harden.threats import Linf

    found = attack_setup(file, FileAccess(black_box=True), source, (SQUARE,))
    result = evaluate_unchecked(found.model, source, Linf("1/8"), found.attempts, judge=found.judge)
    broken: Tensor = result.broken
    assert broken.tolist() == [False, True, True, False]
