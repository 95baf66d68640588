"""Attempts: what they may use, and the loss that fits a number of classes."""

from __future__ import annotations

import pytest
from torch import Tensor

from harden.attacks import APGD, PGD, RandomNoise, RayS, Square, Targeted
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import Attempt
from harden.losses import DLR, CrossEntropy, LossFunction, Margin
from harden.models import Classifier
from harden.threats import L2, Linf, Threat


def test_gradient_free_attacks_are_no_white_boxes() -> None:
    assert Attempt("a", PGD()).is_white_box
    for attack in (Square(), RayS(), RandomNoise()):
        assert not Attempt("a", attack, Margin).is_white_box
    assert not Attempt("a", PGD(), black_box=True).is_white_box


def test_a_source_and_a_black_box_exclude_each_other(plain: Classifier) -> None:
    with pytest.raises(InputError, match="leave black_box out"):
        Attempt("a", PGD(), source=plain, black_box=True)


def test_the_margin_replaces_dlr_where_that_has_too_few_classes() -> None:
    plain_dlr, aimed = Attempt("a", APGD(), DLR), Attempt("b", Targeted(APGD()), DLR)
    for attempt, least in ((plain_dlr, 3), (aimed, 4)):
        assert attempt.for_classes(least) is attempt
        fitted = attempt.for_classes(least - 1)
        assert fitted.loss is Margin
        assert f"needs {least} classes" in fitted.note
        assert fitted.describe()["note"] == fitted.note
    other = Attempt("c", APGD(), CrossEntropy)
    assert other.for_classes(2) is other


def test_a_description_holds_what_differs_from_the_defaults() -> None:
    assert set(Attempt("a", PGD()).describe()) == {"attack", "loss", "precision"}
    found = Attempt("a", Square(), Margin, black_box=True, only_first=7, if_gradients_fail=True).describe()
    assert (found["access"], found["only_first"]) == ("scores of the judge", 7)
    assert found["if_gradients_fail"] is True


def test_an_attack_is_used_for_the_norms_that_it_lists() -> None:
    class L2Alone:
        norms = ("l2",)

        def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
            return x

    assert Attempt("a", PGD()).knows(Linf(1))
    for attack in (L2Alone(), Targeted(L2Alone())):
        assert (Attempt("a", attack).knows(L2(1)), Attempt("a", attack).knows(Linf(1))) == (True, False)
