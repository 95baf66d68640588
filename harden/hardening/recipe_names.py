"""The names and numbers that choose a recipe, and the refusal of names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class RecipeNames:
    """A recipe by the names and numbers that options use; None and "auto" mean the recipe's own choice.

    Args:
        pretrain: the name of a contrastive objective, or `module:function`.
        finetune: the name of an objective, or `module:function`.
        beta: of TRADES, 6 by default, and of MART, 5.
        awp: gamma of AWP around adversarial training, TRADES or MART; 0 for none.
        attack_steps: of PGD in adversarial training; 2 by default.
        attack_step_size: of these, in multiples of eps; 1.5 / steps by default.
        views: the name of the augmentation in fine-tuning; none by default.
        label_smoothing: mass moved from the label to all classes.
        class_weights: "none", "balanced", or a number for each class with commas.
        optimiser: "sgd" or "adamw", of fine-tuning; see `harden.hardening.recipe_defaults`.
        lr: its peak learning rate; without `optimiser`, of AdamW.
        momentum: of SGD.
        weight_decay: of fine-tuning.
        pretrain_lr: peak learning rate of AdamW in pretraining; by default `lr`, where that is of AdamW too.
        pretrain_share: see `Recipe`, as all below.
        schedule: "cosine", "one-cycle" or "piecewise"; a cosine for certified training by default.
        warmup: share of the stage over which the learning rate rises.
        ramp: share of fine-tuning over which eps rises; 0.3 for certified training by default.
        average: decay of the moving average of the weights.
        clip: largest length of the gradient.
        precision: "float32", "bfloat16" where the network can, or "auto": as the device multiplies.
        validations: number of validations; 0 for certified training.
        validation_share: of the passes of fine-tuning that validations may take.
        held_out: share of the training images that choose the checkpoint.
        held_out_limit: the largest number of these.
    """

    pretrain: str = "none"
    finetune: str = "madry"
    beta: float | None = None
    awp: float = 0.0
    attack_steps: int | None = None
    attack_step_size: float | None = None
    views: str = "none"
    label_smoothing: float = 0.0
    class_weights: str = "none"
    optimiser: str = "auto"
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    pretrain_lr: float | None = None
    pretrain_share: float = 0.2
    schedule: str = "auto"
    warmup: float | None = None
    ramp: float | None = None
    average: float = 0.99
    clip: float = 5.0
    precision: str = "float32"
    validations: int | None = None
    validation_share: float = 0.05
    held_out: float = 0.1
    held_out_limit: int = 512


def check_name(option: str, name: str, known: Sequence[str]) -> None:
    """Refuse a name that an option does not have, with the closest one that it has.

    Raises:
        InputError: the name is not among the known ones.
    """
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        instead = f"did you mean {close[0]}?" if close else f"write {option} {known[0]}"
        raise InputError(f"{option} {name!r}", " | ".join(known), instead)


def check_positive(option: str, value: float, example: str) -> float:
    """The value of an option, which is positive and finite.

    Raises:
        InputError: it is not.
    """
    if not 0 < value < float("inf"):
        raise InputError(f"{option} {value:g}", "a positive number", f"write {option} {example}")
    return value
