"""Objectives by the names that options use, and objectives of a user's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from harden.attacks import PGD
from harden.errors import InputError
from harden.models import FastCopy
from harden.objectives import (
    AWP,
    CROWNIBP,
    FGSM_RS,
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
    LinearProbe,
    MoCo,
    MultiNorm,
    Objective,
    PriorGuidedFGSM,
    SimCLR,
    Standard,
    WarmUp,
)
from harden.objectives.adversarial_training import TRAINING_ATTACK
from harden.recipe_names import RecipeNames, check_name, check_positive
from harden.system.named_function import call_function, import_function, is_function
from harden.threats import from_name
from harden.views import DIGITS, LIGHT, MEDICAL, NATURAL, Views

_FUNCTION = "module:function"
_VIEW_ATTACK = PGD(steps=5, keep_best=False)
_VIEWS: dict[str, Views | None] = {
    "none": None,
    "light": LIGHT,
    "natural": NATURAL,
    "digits": DIGITS,
    "medical": MEDICAL,
}


def pretraining(name: str, views: Views) -> Objective | None:
    """The objective of pretraining that a name means, with views; None for "none".

    Raises:
        InputError: the name is not known, or its function returns no objective.
    """
    known: dict[str, Callable[[], Objective | None]] = {
        "none": lambda: None,
        "simclr": lambda: SimCLR(views=views),
        "moco": lambda: MoCo(views=views),
        "acl": lambda: SimCLR(views=views, attack=_VIEW_ATTACK),
        "robust-probe": lambda: LinearProbe(attack=TRAINING_ATTACK),
    }
    if is_function(name):
        return _of_function("--pretrain", name, known)
    check_name("--pretrain", name, (*known, _FUNCTION))
    return known[name]()


def finetuning(names: RecipeNames, weights: tuple[float, ...], steering: FastCopy) -> Objective:
    """The objective of fine-tuning that names and numbers mean.

    Raises:
        InputError: a name is not known, its function returns no objective, a number is out of its range, or
            an option was given that the objective does not have.
    """
    for option, value, usual in (
        ("--beta", names.beta, "6"),
        ("--awp", names.awp, "0.005"),
        ("--sigma", names.sigma, "0.25"),
    ):
        if value is not None and not 0 <= value < float("inf"):
            seen = f"{option} {value:g}"
            raise InputError(seen, "a finite number of 0 or more", f"write {option} {usual}")
    if names.replays is not None and names.replays < 1:
        raise InputError(f"--replays {names.replays}", "one step or more", "write --replays 4")
    if not 0 <= names.label_smoothing < 1:
        seen = f"--label-smoothing {names.label_smoothing:g}"
        raise InputError(seen, "a share in [0, 1)", "write --label-smoothing 0.1")
    if not 0 <= names.cutmix <= 1:
        raise InputError(f"--cutmix {names.cutmix:g}", "a probability in [0, 1]", "write --cutmix 0.5")
    check_name("--views", names.views, (*_VIEWS,))
    views, attack, smoothing = _VIEWS[names.views], _attack(names), names.label_smoothing
    warm_up = WarmUp(redraw=names.pretrain == "none")  # weights that were pretrained are kept
    known: dict[str, Callable[[], Objective]] = {
        "madry": lambda: AdversarialTraining(attack, views, smoothing, weights, steering, names.cutmix),
        "trades": lambda: TRADES(_or(names.beta, TRADES().beta), attack, views, weights, steering),
        "mart": lambda: MART(_or(names.beta, MART().beta), attack, views, weights, steering),
        "n-fgsm": lambda: NFGSM(
            views=views, label_smoothing=smoothing, class_weights=weights, steering=steering
        ),
        "fgsm-rs": lambda: AdversarialTraining(FGSM_RS, views, smoothing, weights, steering, names.cutmix),
        "fgsm-pgi": lambda: PriorGuidedFGSM(
            label_smoothing=smoothing, class_weights=weights, steering=steering
        ),
        "liet": lambda: LIET(views=views, class_weights=weights, steering=steering),
        "free": lambda: FreeAdversarialTraining(
            _or(names.replays, FreeAdversarialTraining().replays),
            views=views,
            label_smoothing=smoothing,
            class_weights=weights,
        ),
        "gaussian": lambda: GaussianAugmentation(
            _or(names.sigma, GaussianAugmentation().sigma), views, smoothing, weights
        ),
        "standard": lambda: Standard(views, smoothing, weights),
        "probe": lambda: LinearProbe(class_weights=weights),
        "ibp": lambda: IBP(warm_up=warm_up, views=views, class_weights=weights),
        "crown-ibp": lambda: CROWNIBP(warm_up=warm_up, views=views, class_weights=weights),
        "sabr": lambda: SABR(warm_up=warm_up, views=views, class_weights=weights),
        "mtl-ibp": lambda: MTLIBP(warm_up=warm_up, views=views, class_weights=weights),
    }
    name = names.finetune
    if is_function(name):
        _refuse_unused(names, ())
        return _of_function("--finetune", name, known, weights)
    check_name("--finetune", name, (*known, _FUNCTION))
    _refuse_unused(names, _USED[name])
    made = _against_others(known[name](), names)
    return AWP(made, names.awp) if names.awp > 0 else made


_ATTACK: Final = ("attack_steps", "attack_step_size", "awp", "other_threats", "combine_threats")
_USED: Final[dict[str, tuple[str, ...]]] = {
    "madry": (*_ATTACK, "views", "label_smoothing", "cutmix"),
    "trades": (*_ATTACK, "views", "beta"),
    "mart": (*_ATTACK, "views", "beta"),
    "n-fgsm": ("views", "label_smoothing"),
    "fgsm-rs": ("views", "label_smoothing", "cutmix"),
    "fgsm-pgi": ("label_smoothing",),
    "liet": ("views",),
    "free": ("views", "label_smoothing", "replays"),
    "gaussian": ("views", "label_smoothing", "sigma"),
    "standard": ("views", "label_smoothing"),
    "probe": (),
    "ibp": ("views",),
    "crown-ibp": ("views",),
    "sabr": ("views",),
    "mtl-ibp": ("views",),
}
"""Options of an objective's own that each name has."""


def _refuse_unused(names: RecipeNames, used: tuple[str, ...]) -> None:
    usual = RecipeNames()
    for option in sorted({option for each in _USED.values() for option in each} - {*used}):
        value = getattr(names, option)
        if value != getattr(usual, option):
            written = f"--{option.replace('_', '-')}"
            having = ", ".join(name for name, own in _USED.items() if option in own)
            raise InputError(
                f"{written} {value} with --finetune {names.finetune}, which it does not change",
                f"{written} with one of {having}",
                f"leave {written} out",
            )


_Number = TypeVar("_Number", int, float)


def _or(value: _Number | None, default: _Number) -> _Number:
    return default if value is None else value


def _against_others(objective: Objective, names: RecipeNames) -> Objective:
    """The objective against the threats of --other-threats too, where there are any."""
    if names.other_threats == "none":
        if names.combine_threats != "max":
            seen = f"--combine-threats {names.combine_threats} without --other-threats"
            raise InputError(seen, "threats to combine", "add --other-threats l2:1/2, for instance")
        return objective
    parts = [part.partition(":") for part in names.other_threats.split(",")]
    if not all(eps for _, _, eps in parts):
        seen = f"--other-threats {names.other_threats}"
        raise InputError(seen, "norms, each with its eps", "write --other-threats l2:1/2,l1:12")
    for norm, _, _ in parts:
        check_name("--other-threats", norm.strip(), ("linf", "l2", "l1"))
    others = tuple(from_name(norm.strip(), eps.strip()) for norm, _, eps in parts)
    check_name("--combine-threats", names.combine_threats, ("max", "average"))
    return MultiNorm(objective, others, "average" if names.combine_threats == "average" else "max")


def _attack(names: RecipeNames) -> PGD:
    steps = TRAINING_ATTACK.steps if names.attack_steps is None else names.attack_steps
    if steps < 1:
        raise InputError(f"--attack-steps {steps}", "one step or more", "write --attack-steps 2")
    size = 1.5 / steps if names.attack_step_size is None else names.attack_step_size
    return PGD(steps, step_size=check_positive("--attack-step-size", size, "0.75"), keep_best=False)


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
