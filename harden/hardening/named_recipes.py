"""Recipes by the names that options use, and objectives of a user's function."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from harden.attacks import PGD
from harden.data import balanced_weights
from harden.errors import InputError
from harden.hardening import Recipe
from harden.models import FastCopy
from harden.objectives import (
    CROWNIBP,
    IBP,
    MTLIBP,
    SABR,
    TRADES,
    AdversarialTraining,
    LinearProbe,
    MoCo,
    Objective,
    SimCLR,
    Standard,
    WarmUp,
)
from harden.objectives.adversarial_training import FAST
from harden.system.named_function import call_function, import_function, is_function
from harden.training import AdamW
from harden.views import DIGITS, LIGHT, NATURAL, Views

_WEIGHTINGS = ("none", "balanced")
_FUNCTION = "module:function"
_VIEW_ATTACK = PGD(steps=5, keep_best=False)


def recipe(
    pretrain: str,
    finetune: str,
    channels: int,
    *,
    beta: float,
    lr: float,
    class_weights: tuple[float, ...] = (),
    steering: FastCopy = FAST,
) -> Recipe:
    """The recipe for two names, with views that fit the images: grey-scale ones are not flipped or coloured.

    A name of the form `module:function` is a function of the user's that returns an objective. It takes no
    arguments, or `class_weights`, a tuple of floats that is empty without --class-weights.

    Raises:
        InputError: a name is not known, there is no such function or it returns no objective, beta is
            negative, or lr is not positive.
    """
    if not 0 <= beta < float("inf"):
        raise InputError(f"--beta {beta:g}", "a weight of 0 or more", "write --beta 6")
    if not 0 < lr < float("inf"):
        raise InputError(f"--lr {lr:g}", "a positive learning rate", "write --lr 0.001")
    views = DIGITS if channels == 1 else NATURAL
    light = None if channels == 1 else LIGHT
    # Weights that were pretrained are kept.
    certified = _certified(light, class_weights, WarmUp(redraw=pretrain == "none"))
    known = _finetuning(light, beta, class_weights, steering) | certified
    last = _required("--finetune", finetune, known, class_weights)
    return Recipe(
        pretrain=_chosen("--pretrain", pretrain, _pretraining(views)),
        finetune=last,
        optimiser=AdamW(lr),
        pretrain_optimiser=AdamW(lr),
        # A validation chooses by what an attack can't break, which is not what can be proved.
        validations=0 if isinstance(last, CROWNIBP | IBP | MTLIBP | SABR) else 10,
    )


def _pretraining(views: Views) -> dict[str, Callable[[], Objective | None]]:
    return {
        "none": lambda: None,
        "simclr": lambda: SimCLR(views=views),
        "moco": lambda: MoCo(views=views),
        "acl": lambda: SimCLR(views=views, attack=_VIEW_ATTACK),
    }


def _finetuning(
    views: Views | None, beta: float, weights: tuple[float, ...], steering: FastCopy
) -> dict[str, Callable[[], Objective]]:
    return {
        "trades": lambda: TRADES(beta=beta, views=views, class_weights=weights, steering=steering),
        "madry": lambda: AdversarialTraining(views=views, class_weights=weights, steering=steering),
        "standard": lambda: Standard(views=views, class_weights=weights),
        "probe": lambda: LinearProbe(class_weights=weights),
    }


def _certified(
    views: Views | None, weights: tuple[float, ...], warm_up: WarmUp
) -> dict[str, Callable[[], Objective]]:
    return {
        "ibp": lambda: IBP(warm_up=warm_up, views=views, class_weights=weights),
        "crown-ibp": lambda: CROWNIBP(warm_up=warm_up, views=views, class_weights=weights),
        "sabr": lambda: SABR(warm_up=warm_up, views=views, class_weights=weights),
        "mtl-ibp": lambda: MTLIBP(warm_up=warm_up, views=views, class_weights=weights),
    }


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
        _check("--class-weights", text, (*_WEIGHTINGS, "W,W,... for each class"))
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


def _chosen(option: str, name: str, known: dict[str, Callable[[], Objective | None]]) -> Objective | None:
    if is_function(name):
        return _of_function(option, name, known)
    _check(option, name, (*known, _FUNCTION))
    return known[name]()


def _required(
    option: str, name: str, known: dict[str, Callable[[], Objective]], class_weights: tuple[float, ...]
) -> Objective:
    if is_function(name):
        return _of_function(option, name, known, class_weights)
    _check(option, name, (*known, _FUNCTION))
    return known[name]()


def _of_function(
    option: str, name: str, known: Mapping[str, object], class_weights: tuple[float, ...] = ()
) -> Objective:
    function = import_function(name, f"{option} is {', '.join(known)} or {_FUNCTION}")
    if class_weights and "class_weights" not in inspect.signature(function).parameters:
        raise InputError(
            f"--class-weights with {option} {name}",
            "a function with a parameter `class_weights`",
            "add this parameter, or leave --class-weights out",
        )
    made = call_function(name, function, "an objective", class_weights=class_weights)
    if isinstance(made, type) or not callable(made) or not callable(getattr(made, "start", None)):
        kind = f"a value of type {type(made).__name__}"
        seen = f"the class {made.__name__}" if isinstance(made, type) else kind
        raise InputError(
            f"{option} {name}, which returned {seen}",
            "an objective: a value with the methods start and __call__ (harden.objectives.Objective)",
            "return one, such as harden.TRADES(beta=4)",
        )
    return made  # type: ignore[no-any-return]  # an objective, as checked


def _check(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        instead = f"did you mean {close[0]}?" if close else f"write {option} {known[0]}"
        raise InputError(f"{option} {name!r}", " | ".join(known), instead)
