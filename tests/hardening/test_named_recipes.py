"""Recipes by the names of the command line."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from harden.attacks import PGD
from harden.errors import InputError
from harden.hardening.named_recipes import recipe
from harden.hardening.recipe import Recipe
from harden.hardening.run_identity import check_request
from harden.models import Classifier, FastCopy
from harden.models.small_networks import small_cnn
from harden.objectives import (
    AWP,
    CROWNIBP,
    IBP,
    LIET,
    MART,
    MTLIBP,
    NFGSM,
    SABR,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    MultiNorm,
    PriorGuidedFGSM,
    SimCLR,
    Standard,
    WarmUp,
)
from harden.recipe_names import RecipeNames
from harden.threats import L1, L2, Linf
from harden.training import SGD, AdamW, Cosine, OneCycle, Piecewise, TailAverage
from harden.views import LIGHT, MEDICAL

KINDS = {"ibp": IBP, "crown-ibp": CROWNIBP, "sabr": SABR, "mtl-ibp": MTLIBP}


@pytest.mark.parametrize("name", KINDS)
def test_certified_training_keeps_the_last_weights_and_pretrained_ones(name: str) -> None:
    made = recipe(RecipeNames("none", name), 1, (1.0, 2.0))
    assert isinstance(made.finetune, KINDS[name])
    assert (made.finetune.warm_up, made.finetune.class_weights) == (WarmUp(), (1.0, 2.0))  # type: ignore[attr-defined]  # of one kind of objective
    assert (made.validations, made.schedule, made.ramp) == (0, Cosine(), 0.3)
    after = recipe(RecipeNames("simclr", name), 1)
    assert after.finetune.warm_up == WarmUp(redraw=False)  # type: ignore[attr-defined]  # of one kind of objective
    check_request(Classifier(small_cnn()), Linf("0.1"), after, None)
    assert recipe(RecipeNames("none", "trades"), 1).validations == 5


def test_refuses_to_draw_anew_what_was_pretrained() -> None:
    made = Recipe(pretrain=SimCLR(), finetune=IBP())
    with pytest.raises(InputError, match="pretraining before an objective that draws the weights anew"):
        check_request(Classifier(small_cnn()), Linf("0.1"), made, None)


OTHER = RecipeNames(
    pretrain="simclr",
    pretrain_lr=0.002,
    pretrain_share=0.4,
    optimiser="sgd",
    lr=0.05,
    rate_probe=True,
    momentum=0.8,
    weight_decay=0.0,
    attack_steps=4,
    views="light",
    schedule="cosine",
    warmup=0.05,
    ramp=0.25,
    average=0.9,
    clip=1.0,
    rollbacks=2,
    guard_checks=5,
    guard_share=0.1,
    max_clean_drop=0.05,
    precision="bfloat16",
    validations=3,
    validation_share=0.2,
    held_out=0.2,
    held_out_limit=100,
)


def test_without_names_it_is_the_recipe_of_the_library() -> None:
    assert recipe(RecipeNames(), 3) == Recipe() == recipe(RecipeNames(), 1)


def test_every_field_of_a_recipe_can_be_chosen() -> None:
    made, usual = recipe(OTHER, 1), Recipe()
    for each in fields(Recipe):
        assert getattr(made, each.name) != getattr(usual, each.name), each.name
    assert made.optimiser == SGD(0.05, momentum=0.8, weight_decay=0.0)
    assert made.finetune == AdversarialTraining(PGD(4, step_size=0.375, keep_best=False), views=LIGHT)
    assert (made.schedule, made.pretrain_optimiser) == (Cosine(0.05), AdamW(0.002))


def test_every_field_of_an_objective_can_be_chosen() -> None:
    names = RecipeNames(
        attack_steps=3, attack_step_size=0.9, views="medical", label_smoothing=0.1, class_weights="1,2"
    )
    attack = PGD(3, step_size=0.9, keep_best=False)
    copy = FastCopy(bfloat16=True)
    assert recipe(names, 3, (1.0, 2.0), copy).finetune == AdversarialTraining(
        attack, MEDICAL, 0.1, (1.0, 2.0), copy
    )
    trades = replace(names, finetune="trades", beta=4.0, label_smoothing=0.0)
    assert recipe(trades, 3, (1.0, 2.0), copy).finetune == TRADES(4.0, attack, MEDICAL, (1.0, 2.0), copy)
    mart = replace(trades, finetune="mart")
    assert recipe(mart, 3, (1.0, 2.0), copy).finetune == MART(4.0, attack, MEDICAL, (1.0, 2.0), copy)
    plain = RecipeNames(finetune="standard", views="medical", label_smoothing=0.1)
    assert recipe(plain, 3, (1.0, 2.0)).finetune == Standard(MEDICAL, 0.1, (1.0, 2.0))


def test_beta_is_by_default_that_of_the_objective() -> None:
    assert recipe(RecipeNames(finetune="trades"), 3).finetune == TRADES(beta=6.0)
    assert recipe(RecipeNames(finetune="mart"), 3).finetune == MART(beta=5.0)
    assert recipe(RecipeNames(finetune="mart", beta=0.0), 3).finetune == MART(beta=0.0)


@pytest.mark.parametrize("name", ["madry", "trades", "mart"])
def test_awp_is_put_around_adversarial_objectives(name: str) -> None:
    inner = recipe(RecipeNames(finetune=name), 3, (1.0, 2.0)).finetune
    made = recipe(RecipeNames(finetune=name, awp=0.01), 3, (1.0, 2.0))
    assert made.finetune == AWP(inner, gamma=0.01)
    assert made.validations == Recipe().validations


def test_awp_does_not_hide_that_weights_are_drawn_anew() -> None:
    made = Recipe(pretrain=SimCLR(), finetune=AWP(IBP()))
    with pytest.raises(InputError, match="pretraining before an objective that draws the weights anew"):
        check_request(Classifier(small_cnn()), Linf("0.1"), made, None)


def test_objectives_of_one_attack_step_by_name() -> None:
    copy, weights = FastCopy(bfloat16=True), (1.0, 2.0)
    names = RecipeNames(finetune="n-fgsm", views="light", label_smoothing=0.1)
    assert recipe(names, 3, weights, copy).finetune == NFGSM(
        views=LIGHT, label_smoothing=0.1, class_weights=weights, steering=copy
    )
    one_step = PGD(steps=1, step_size=1.25, random_start=True, keep_best=False)
    assert recipe(replace(names, finetune="fgsm-rs"), 3, weights, copy).finetune == AdversarialTraining(
        one_step, LIGHT, 0.1, weights, copy
    )
    prior = replace(names, finetune="fgsm-pgi", views="none")
    assert recipe(prior, 3, weights, copy).finetune == PriorGuidedFGSM(
        label_smoothing=0.1, class_weights=weights, steering=copy
    )


@pytest.mark.parametrize("name", ["madry", "fgsm-rs"])
def test_cutmix_by_its_option(name: str) -> None:
    made = recipe(RecipeNames(finetune=name), 3).finetune
    assert isinstance(made, AdversarialTraining)
    assert recipe(RecipeNames(finetune=name, cutmix=0.5), 3).finetune == replace(made, cutmix=0.5)


def test_liet_free_and_gaussian_by_name() -> None:
    copy, weights = FastCopy(bfloat16=True), (1.0, 2.0)
    names = RecipeNames(finetune="liet", views="light")
    assert recipe(names, 3, weights, copy).finetune == LIET(views=LIGHT, class_weights=weights, steering=copy)
    names = RecipeNames(finetune="free", views="light", label_smoothing=0.1)
    expected = FreeAdversarialTraining(views=LIGHT, label_smoothing=0.1, class_weights=weights)
    assert recipe(names, 3, weights, copy).finetune == expected
    assert recipe(replace(names, replays=8), 3, weights).finetune == replace(expected, replays=8)
    names = replace(names, finetune="gaussian")
    assert recipe(names, 3, weights).finetune == GaussianAugmentation(0.25, LIGHT, 0.1, weights)
    assert recipe(replace(names, sigma=0.5), 3, weights).finetune == GaussianAugmentation(
        0.5, LIGHT, 0.1, weights
    )
    assert recipe(RecipeNames(finetune="gaussian", sigma=0.0), 3).finetune == GaussianAugmentation(0.0)


@pytest.mark.parametrize("name", ["madry", "trades", "mart"])
def test_other_threats_are_put_around_adversarial_objectives_and_awp_around_both(name: str) -> None:
    inner = recipe(RecipeNames(finetune=name), 3).finetune
    names = RecipeNames(finetune=name, other_threats="l2:1/2, l1:12")
    others = (L2("1/2"), L1(12))
    assert recipe(names, 3).finetune == MultiNorm(inner, others)
    average = replace(names, combine_threats="average", awp=0.01)
    assert recipe(average, 3).finetune == AWP(MultiNorm(inner, others, "average"), gamma=0.01)


def test_a_rate_without_an_optimiser_is_of_adamw() -> None:
    assert recipe(RecipeNames(lr=0.01), 3).optimiser == AdamW(0.01)
    assert recipe(RecipeNames(lr=0.01), 3).pretrain_optimiser == AdamW(0.01)
    assert recipe(RecipeNames(optimiser="sgd", lr=0.1), 3).pretrain_optimiser == AdamW()
    assert recipe(RecipeNames(optimiser="adamw"), 3).optimiser == AdamW()
    assert recipe(RecipeNames(optimiser="sgd"), 3).optimiser == SGD()
    assert recipe(RecipeNames(), 3).optimiser is None


def test_the_average_of_the_weights_is_a_decay_or_a_tail() -> None:
    assert recipe(RecipeNames(average=0.9), 3).average == 0.9
    assert recipe(RecipeNames(tail_average=0.5), 3).average == TailAverage(0.5)


def test_schedules_by_name() -> None:
    assert recipe(RecipeNames(schedule="one-cycle", warmup=0.4), 3).schedule == OneCycle(0.4)
    assert recipe(RecipeNames(schedule="piecewise"), 3).schedule == Piecewise()
    assert recipe(RecipeNames(warmup=0.4), 3).schedule == OneCycle(0.4)
    assert recipe(RecipeNames(finetune="ibp", warmup=0.4), 3).schedule == Cosine(0.4)
    assert recipe(RecipeNames(schedule="auto"), 3).schedule == Recipe().schedule


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        (RecipeNames(finetune="standard", attack_steps=3), "--attack-steps 3 with --finetune standard"),
        (RecipeNames(finetune="ibp", label_smoothing=0.1), "--label-smoothing 0.1 with --finetune ibp"),
        (RecipeNames(finetune="n-fgsm", attack_steps=2), "--attack-steps 2 with --finetune n-fgsm"),
        (RecipeNames(finetune="fgsm-rs", attack_steps=2), "--attack-steps 2 with --finetune fgsm-rs"),
        (RecipeNames(finetune="fgsm-pgi", views="light"), "--views light with --finetune fgsm-pgi"),
        (RecipeNames(finetune="madry", beta=4.0), "--beta 4.0 with --finetune madry"),
        (RecipeNames(finetune="madry", beta=6.0), "--beta 6.0 with --finetune madry"),
        (RecipeNames(finetune="mart", label_smoothing=0.1), "--label-smoothing 0.1 with --finetune mart"),
        (RecipeNames(finetune="standard", awp=0.01), "--awp 0.01 with --finetune standard"),
        (RecipeNames(finetune="sabr", awp=0.01), "--awp 0.01 with --finetune sabr"),
        (RecipeNames(finetune="os:getcwd", awp=0.01), "--awp 0.01 with --finetune os:getcwd"),
        (RecipeNames(awp=-0.01), "--awp -0.01"),
        (RecipeNames(awp=float("nan")), "--awp nan"),
        (RecipeNames(finetune="mart", beta=float("inf")), "--beta inf"),
        (RecipeNames(finetune="probe", views="light"), "--views light with --finetune probe"),
        (RecipeNames(cutmix=1.5), "--cutmix 1.5"),
        (RecipeNames(finetune="trades", cutmix=0.5), "--cutmix 0.5 with --finetune trades"),
        (RecipeNames(replays=4), "--replays 4 with --finetune madry"),
        (RecipeNames(finetune="free", replays=0), "--replays 0"),
        (RecipeNames(finetune="free", attack_steps=2), "--attack-steps 2 with --finetune free"),
        (RecipeNames(finetune="free", awp=0.01), "--awp 0.01 with --finetune free"),
        (RecipeNames(finetune="liet", label_smoothing=0.1), "--label-smoothing 0.1 with --finetune liet"),
        (RecipeNames(finetune="gaussian", sigma=-0.5), "--sigma -0.5"),
        (RecipeNames(sigma=0.5), "--sigma 0.5 with --finetune madry"),
        (RecipeNames(finetune="free", other_threats="l2:1"), "--other-threats l2:1 with --finetune free"),
        (RecipeNames(other_threats="l2"), "--other-threats l2"),
        (RecipeNames(other_threats="l3:1"), "--other-threats 'l3'"),
        (RecipeNames(other_threats="l2:x"), "'x'"),
        (RecipeNames(other_threats="l2:1", combine_threats="sum"), "--combine-threats 'sum'"),
        (RecipeNames(combine_threats="average"), "--combine-threats average without --other-threats"),
        (RecipeNames(momentum=0.5), "--momentum 0.5 with --optimiser auto"),
        (RecipeNames(attack_steps=0), "--attack-steps 0"),
        (RecipeNames(attack_step_size=-1.0), "--attack-step-size -1"),
        (RecipeNames(label_smoothing=1.0), "--label-smoothing 1"),
        (RecipeNames(optimiser="adam"), "--optimiser 'adam'"),
        (RecipeNames(schedule="cosin"), "--schedule 'cosin'"),
        (RecipeNames(warmup=1.0), "a warm-up of 1.0"),
        (RecipeNames(views="lite"), "--views 'lite'"),
        (RecipeNames(lr=0.0), "--lr 0"),
        (RecipeNames(precision="half"), "--precision 'half'"),
        (RecipeNames(pretrain_lr=float("nan")), "--pretrain-lr nan"),
        (RecipeNames(held_out=0.0), "held_out 0"),
        (RecipeNames(validation_share=0.0), "validation_share 0"),
        (RecipeNames(validation_share=1.5), "validation_share 1.5"),
        (RecipeNames(validation_share=float("nan")), "validation_share nan"),
        (RecipeNames(held_out_limit=0), "held_out_limit 0"),
        (RecipeNames(clip=0.0), "a clip of 0"),
        (RecipeNames(average=1.0), "average 1"),
        (RecipeNames(tail_average=1.0), "--tail-average 1"),
        (RecipeNames(tail_average=0.5, average=0.9), "--tail-average 0.5 with --average 0.9"),
        (RecipeNames(ramp=-0.5), "ramp -0.5"),
        (RecipeNames(validations=-1), "-1 validations"),
    ],
)
def test_numbers_out_of_range_and_options_without_effect_are_refused(names: RecipeNames, seen: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe(names, 3)
    assert seen in caught.value.seen
    assert caught.value.instead
