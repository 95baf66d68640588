"""Recipes by the names of the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.hardening.named_recipes import recipe
from harden.hardening.recipe import Recipe
from harden.hardening.run_identity import check_request
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import CROWNIBP, IBP, MTLIBP, SABR, TRADES, SimCLR, WarmUp
from harden.threats import Linf

KINDS = {"ibp": IBP, "crown-ibp": CROWNIBP, "sabr": SABR, "mtl-ibp": MTLIBP}


@pytest.mark.parametrize("name", KINDS)
def test_certified_training_keeps_the_last_weights_and_pretrained_ones(name: str) -> None:
    made = recipe("none", name, 1, beta=6, lr=1e-3, class_weights=(1.0, 2.0))
    assert isinstance(made.finetune, KINDS[name])
    assert (made.finetune.warm_up, made.finetune.class_weights) == (WarmUp(), (1.0, 2.0))  # type: ignore[attr-defined]  # of one kind of objective
    assert made.validations == 0
    after = recipe("simclr", name, 1, beta=6, lr=1e-3)
    assert after.finetune.warm_up == WarmUp(redraw=False)  # type: ignore[attr-defined]  # of one kind of objective
    check_request(Classifier(small_cnn()), Linf("0.1"), after, None)
    assert recipe("none", "trades", 1, beta=6, lr=1e-3).validations == 10


def test_refuses_to_draw_anew_what_was_pretrained() -> None:
    made = Recipe(pretrain=SimCLR(), finetune=IBP())
    with pytest.raises(InputError, match="pretraining before an objective that draws the weights anew"):
        check_request(Classifier(small_cnn()), Linf("0.1"), made, None)


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
    made = recipe(f"{module}:views", f"{module}:trades", 3, beta=6, lr=1e-3)
    assert (made.pretrain, made.finetune, made.validations) == (SimCLR(), TRADES(beta=3.0), 10)
    weighted = recipe("none", f"{module}:weighted", 3, beta=6, lr=1e-3, class_weights=(1.0, 2.0))
    assert weighted.finetune == TRADES(beta=2.0, class_weights=(1.0, 2.0))
    assert recipe("none", f"{module}:certified", 3, beta=6, lr=1e-3).validations == 0


@pytest.mark.parametrize(
    ("function", "seen"), [("kind", "the class TRADES"), ("number", "a value of type int")]
)
def test_refuses_what_is_no_objective(module: str, function: str, seen: str) -> None:
    for option, pretrain, finetune in (
        ("--finetune", "none", f"{module}:{function}"),
        ("--pretrain", f"{module}:{function}", "trades"),
    ):
        with pytest.raises(InputError) as caught:
            recipe(pretrain, finetune, 3, beta=6, lr=1e-3)
        assert caught.value.seen == f"{option} {module}:{function}, which returned {seen}"
        assert "start and __call__" in caught.value.expected
        assert "TRADES" in caught.value.instead


def test_class_weights_are_not_ignored_in_silence(module: str) -> None:
    with pytest.raises(InputError, match=r"--class-weights with --finetune .*:trades"):
        recipe("none", f"{module}:trades", 3, beta=6, lr=1e-3, class_weights=(1.0, 2.0))


def test_a_missing_module_or_function_is_named(module: str) -> None:
    with pytest.raises(InputError, match="not_here:f, whose module 'not_here' is not found from here"):
        recipe("none", "not_here:f", 3, beta=6, lr=1e-3)
    with pytest.raises(
        InputError, match=r"no attribute 'gone'.*--pretrain is none, simclr, moco, acl or mod"
    ):
        recipe(f"{module}:gone", "trades", 3, beta=6, lr=1e-3)
