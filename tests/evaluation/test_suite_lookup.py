"""Suites by name, and from a user's function."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from harden.attacks import PGD
from harden.errors import InputError
from harden.evaluation import pgd_suite, quick, standard, thorough
from harden.evaluation.suite_lookup import NAMES, suite_named, suite_of
from harden.losses import Margin

MODULE = """
from harden.attacks import PGD, RandomNoise
from harden.evaluation import Attempt
from harden.losses import Margin

def suite(precision):
    return [Attempt("mine", PGD(steps=7), Margin, precision), Attempt("random", RandomNoise())]

def one():
    return Attempt("one", PGD(steps=2))

def nothing():
    return ()

def number():
    return 3

def attacks():
    return PGD(), RandomNoise()

def twice():
    return Attempt("one", PGD()), Attempt("one", RandomNoise())

def reserved():
    return Attempt("noise", RandomNoise()),
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"attacks_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_the_names_stand_for_the_suites() -> None:
    assert [suite_of(name) for name in NAMES] == [standard(), thorough(), quick(), pgd_suite(50, 3)]
    assert suite_of("pgd", 7, 2) == suite_named("pgd", 7, 2) == pgd_suite(7, 2)


def test_a_function_gives_a_suite_or_one_attempt(module: str) -> None:
    mine, noise = suite_of(f"{module}:suite")
    assert (mine.name, mine.attack, mine.loss, mine.precision) == (
        "mine",
        PGD(steps=7),
        Margin,
        torch.float32,
    )
    assert noise.name == "random"
    assert suite_of(f"{module}:suite", precision=torch.bfloat16)[0].precision == torch.bfloat16
    assert [attempt.name for attempt in suite_of(f"{module}:one")] == ["one"]


@pytest.mark.parametrize(
    ("function", "seen"),
    [
        ("nothing", "returned a tuple of ()"),
        ("number", "returned a value of type int"),
        ("attacks", "returned a tuple of (PGD, RandomNoise)"),
    ],
)
def test_refuses_what_is_no_suite(module: str, function: str, seen: str) -> None:
    with pytest.raises(InputError) as caught:
        suite_of(f"{module}:{function}")
    assert caught.value.seen == f"--attacks {module}:{function}, which {seen}"
    assert caught.value.expected == "a tuple of harden.evaluation.Attempt, with one at least"
    assert "Attempt(" in caught.value.instead


@pytest.mark.parametrize("function", ["twice", "reserved"])
def test_refuses_names_that_an_evaluation_would_refuse_after_training(module: str, function: str) -> None:
    with pytest.raises(InputError, match=r"whose attempts are named .*expected names that differ from each"):
        suite_of(f"{module}:{function}")


def test_refuses_options_that_a_function_does_not_take(module: str) -> None:
    with pytest.raises(InputError, match=r"--steps 20 --restarts 3 for --attacks .*:one"):
        suite_of(f"{module}:one", 20)
    with pytest.raises(InputError, match=r"--bfloat16 for --attacks .*:one.*parameter `precision`"):
        suite_of(f"{module}:one", precision=torch.bfloat16)


def test_a_wrong_name_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InputError, match="--attacks pdg; expected standard, thorough, quick, pgd or mod"):
        suite_of("pdg")


def test_a_name_from_a_file_runs_no_code(module: str) -> None:
    """`suite_named` is what baselines are read with: a stranger's file must not name code to run."""
    with pytest.raises(InputError, match="expected pgd, quick, standard or thorough"):
        suite_named(f"{module}:suite", 50, 3)
    assert module not in sys.modules
