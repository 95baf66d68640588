"""The recipes that the command line knows by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from harden.attacks import PGD
from harden.errors import InputError
from harden.hardening import Recipe
from harden.objectives import TRADES, AdversarialTraining, LinearProbe, MoCo, Objective, SimCLR, Standard
from harden.training import AdamW
from harden.views import DIGITS, LIGHT, NATURAL, Views

_VIEW_ATTACK = PGD(steps=5, keep_best=False)


def recipe(pretrain: str, finetune: str, channels: int, *, beta: float, lr: float) -> Recipe:
    """The recipe for two names, with views that fit the images: grey-scale ones are not flipped or coloured.

    Raises:
        InputError: a name is not known, beta is negative, or lr is not positive.
    """
    if not 0 <= beta < float("inf"):
        raise InputError(f"--beta {beta:g}", "a weight of 0 or more", "write --beta 6")
    if not 0 < lr < float("inf"):
        raise InputError(f"--lr {lr:g}", "a positive learning rate", "write --lr 0.001")
    views = DIGITS if channels == 1 else NATURAL
    light = None if channels == 1 else LIGHT
    return Recipe(
        pretrain=_chosen("--pretrain", pretrain, _pretraining(views)),
        finetune=_required("--finetune", finetune, _finetuning(light, beta)),
        optimiser=AdamW(lr),
        pretrain_optimiser=AdamW(lr),
    )


def _pretraining(views: Views) -> dict[str, Callable[[], Objective | None]]:
    return {
        "none": lambda: None,
        "simclr": lambda: SimCLR(views=views),
        "moco": lambda: MoCo(views=views),
        "acl": lambda: SimCLR(views=views, attack=_VIEW_ATTACK),
    }


def _finetuning(views: Views | None, beta: float) -> dict[str, Callable[[], Objective]]:
    return {
        "trades": lambda: TRADES(beta=beta, views=views),
        "madry": lambda: AdversarialTraining(views=views),
        "standard": lambda: Standard(views=views),
        "probe": LinearProbe,
    }


def _chosen(option: str, name: str, known: dict[str, Callable[[], Objective | None]]) -> Objective | None:
    _check(option, name, known)
    return known[name]()


def _required(option: str, name: str, known: dict[str, Callable[[], Objective]]) -> Objective:
    _check(option, name, known)
    return known[name]()


def _check(option: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        instead = f"did you mean {close[0]}?" if close else f"write {option} {next(iter(known))}"
        raise InputError(f"{option} {name!r}", " | ".join(known), instead)
