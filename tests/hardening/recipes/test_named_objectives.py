"""Objectives of a user's function, by `module:function`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.hardening.recipes.named_recipes import recipe
from harden.objectives import TRADES, SimCLR
from harden.recipe_names import RecipeNames

MODULE = """
from harden.objectives import IBP, SimCLR, TRADES

def trades():
    return TRADES(beta=3.0)

def weighted(class_weights):
    return TRADES(beta=2.0, class_weights=class_weights)

def certified():
    return IBP()

def views():
    return SimCLR()

def kind():
    return TRADES

def number():
    return 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"objectives_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_function_gives_an_objective(module: str) -> None:
    made = recipe(RecipeNames(f"{module}:views", f"{module}:trades"), 3)
    assert (made.pretrain, made.finetune, made.validations) == (SimCLR(), TRADES(beta=3.0), 5)
    weighted = recipe(RecipeNames("none", f"{module}:weighted"), 3, (1.0, 2.0))
    assert weighted.finetune == TRADES(beta=2.0, class_weights=(1.0, 2.0))
    assert recipe(RecipeNames("none", f"{module}:certified"), 3).validations == 0


@pytest.mark.parametrize(
    ("function", "seen"), [("kind", "the class TRADES"), ("number", "a value of type int")]
)
def test_refuses_what_is_no_objective(module: str, function: str, seen: str) -> None:
    for option, pretrain, finetune in (
        ("--finetune", "none", f"{module}:{function}"),
        ("--pretrain", f"{module}:{function}", "trades"),
    ):
        with pytest.raises(InputError) as caught:
            recipe(RecipeNames(pretrain, finetune), 3)
        assert caught.value.seen == f"{option} {module}:{function}, which returned {seen}"
        assert "start and __call__" in caught.value.expected
        assert "TRADES" in caught.value.instead


def test_class_weights_are_not_ignored_in_silence(module: str) -> None:
    with pytest.raises(InputError, match=r"--class-weights with --finetune .*:trades"):
        recipe(RecipeNames("none", f"{module}:trades"), 3, (1.0, 2.0))


def test_a_missing_module_or_function_is_named(module: str) -> None:
    with pytest.raises(InputError, match="not_here:f, whose module 'not_here' is not found from here"):
        recipe(RecipeNames("none", "not_here:f"), 3)
    with pytest.raises(
        InputError, match=r"no attribute 'gone'.*--pretrain is none, simclr, moco, acl, robust-probe or mod"
    ):
        recipe(RecipeNames(f"{module}:gone", "trades"), 3)
