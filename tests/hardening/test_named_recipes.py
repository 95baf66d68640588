"""Recipes by the names of the command line."""

from __future__ import annotations

import pytest

from harden.errors import InputError
from harden.hardening.named_recipes import recipe
from harden.hardening.recipe import Recipe
from harden.hardening.run_identity import check_request
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import CROWNIBP, IBP, MTLIBP, SABR, SimCLR, WarmUp
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
