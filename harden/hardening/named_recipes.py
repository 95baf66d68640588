"""Recipes by the names that options use."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from harden.data import balanced_weights
from harden.errors import InputError
from harden.hardening.named_objectives import finetuning, pretraining
from harden.hardening.rate_probe import RateProbe
from harden.hardening.recipe import Recipe
from harden.models import FastCopy
from harden.objectives import CROWNIBP, IBP, MTLIBP, SABR, Objective
from harden.objectives.adversarial_training import FAST
from harden.recipe_names import RecipeNames, check_name, check_positive
from harden.training import SGD, AdamW, Cosine, OneCycle, Piecewise, TailAverage
from harden.training.guards.guard_options import Guards
from harden.training.optimisers import Optimiser
from harden.training.schedules import Schedule
from harden.training.weights.weight_averaging import Averaging
from harden.views import DIGITS, NATURAL

_WEIGHTINGS = ("none", "balanced")
_CERTIFIED = (CROWNIBP, IBP, MTLIBP, SABR)


def recipe(
    names: RecipeNames,
    channels: int,
    class_weights: tuple[float, ...] = (),
    steering: FastCopy = FAST,
) -> Recipe:
    """The recipe for names, with views that fit the images: pretraining neither flips nor colours grey ones.

    A name of the form `module:function` is a function of the user's that returns an objective. It takes no
    arguments, or `class_weights`, a tuple of floats that is empty without --class-weights.

    Raises:
        InputError: a name is not known, there is no such function or it returns no objective, a number is out
            of its range, or an option has no effect on the objective.
    """
    check_class_weights(names.class_weights)
    last = finetuning(names, class_weights, steering)
    return Recipe(
        pretrain=pretraining(names.pretrain, DIGITS if channels == 1 else NATURAL),
        finetune=last,
        pretrain_share=names.pretrain_share,
        optimiser=_optimiser(names),
        rate_probe=RateProbe() if names.rate_probe else None,
        pretrain_optimiser=_pretrain_optimiser(names),
        schedule=_schedule(names, last),
        ramp=_ramp(names, last),
        average=_average(names),
        clip=names.clip,
        guards=Guards(names.rollbacks, names.guard_checks, names.guard_share),
        bfloat16=_bfloat16(names),
        validations=_validations(names, last),
        validation_share=names.validation_share,
        max_clean_drop=names.max_clean_drop,
        held_out=names.held_out,
        held_out_limit=names.held_out_limit,
    )


def _optimiser(names: RecipeNames) -> Optimiser | None:
    """The optimiser that is named; None where it is left to the recipe."""
    check_name("--optimiser", names.optimiser, ("auto", "sgd", "adamw"))
    numbers = {"lr": names.lr, "momentum": names.momentum, "weight_decay": names.weight_decay}
    given = {name: value for name, value in numbers.items() if value is not None}
    if names.lr is not None:
        check_positive("--lr", names.lr, "0.1")
    if names.optimiser == "sgd":
        return SGD(**given)
    if "momentum" in given:
        seen = f"--momentum {names.momentum:g} with --optimiser {names.optimiser}"
        raise InputError(seen, "--optimiser sgd", "leave --momentum out")
    return AdamW(**given) if given or names.optimiser == "adamw" else None


def _pretrain_optimiser(names: RecipeNames) -> AdamW:
    if names.pretrain_lr is not None:
        return AdamW(check_positive("--pretrain-lr", names.pretrain_lr, "0.001"))
    return AdamW() if names.lr is None or names.optimiser == "sgd" else AdamW(names.lr)


def _bfloat16(names: RecipeNames) -> bool | None:
    check_name("--precision", names.precision, ("auto", "float32", "bfloat16"))
    return None if names.precision == "auto" else names.precision == "bfloat16"


def _ramp(names: RecipeNames, objective: Objective) -> float:
    if names.ramp is not None:
        return names.ramp
    return 0.3 if isinstance(objective, _CERTIFIED) else Recipe().ramp


def _average(names: RecipeNames) -> Averaging:
    if names.tail_average is None:
        return names.average
    if names.average != RecipeNames().average:
        seen = f"--tail-average {names.tail_average:g} with --average {names.average:g}"
        raise InputError(seen, "one of both", "leave --average out")
    if not 0 <= names.tail_average < 1:
        seen = f"--tail-average {names.tail_average:g}"
        raise InputError(seen, "a share in [0, 1)", "write --tail-average 0.5")
    return TailAverage(names.tail_average)


def _schedule(names: RecipeNames, objective: Objective) -> Schedule:
    known: dict[str, Callable[..., Schedule]] = {
        "cosine": Cosine,
        "one-cycle": OneCycle,
        "piecewise": Piecewise,
    }
    check_name("--schedule", names.schedule, ("auto", *known))
    usual = "cosine" if isinstance(objective, _CERTIFIED) else "one-cycle"
    name = usual if names.schedule == "auto" else names.schedule
    return known[name](**({} if names.warmup is None else {"warmup": names.warmup}))


def _validations(names: RecipeNames, objective: Objective) -> int:
    if names.validations is not None:
        return names.validations
    # A validation selects by what an attack can't break, which is not what can be proved.
    return 0 if isinstance(objective, _CERTIFIED) else Recipe().validations


def check_class_weights(text: str) -> tuple[float, ...]:
    """The weights in numbers; none for the words "none" and "balanced".

    Raises:
        InputError: it is neither of the words, nor positive numbers with commas.
    """
    if text in _WEIGHTINGS:
        return ()
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        check_name("--class-weights", text, (*_WEIGHTINGS, "W,W,... for each class"))
        raise
    if not all(0 < weight < float("inf") for weight in weights):
        seen = f"--class-weights {text}"
        raise InputError(seen, "a positive number for each class", "write --class-weights balanced")
    return weights


def class_weights(text: str, labels: Tensor, classes: int) -> tuple[float, ...]:
    """The weight of each class, or () for none: as typed, or by the counts of the training labels.

    Raises:
        InputError: there are more or fewer weights than classes.
    """
    weights = balanced_weights(labels, classes) if text == "balanced" else check_class_weights(text)
    if weights and len(weights) != classes:
        raise InputError(
            f"--class-weights with {len(weights)} weights for {classes} classes",
            "a weight for each class, in the order of the labels",
            "write --class-weights balanced, or as many numbers",
        )
    return weights
