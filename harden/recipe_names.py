"""The names and numbers that choose a recipe, and the refusal of names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class RecipeNames:
    """A recipe by the names and numbers that options use.

    Every field is annotated with the help text of the option of this name. None and "auto" leave a choice to
    the recipe.
    """

    pretrain: Annotated[
        str,
        "none | simclr | moco | acl (attacked views) | robust-probe (the head alone, on attacked images: for "
        "networks trained on other data) | module:function (returns an objective)",
    ] = "none"
    finetune: Annotated[
        str,
        "madry | trades | mart | n-fgsm | fgsm-rs | fgsm-pgi | liet (one attack step; L-inf alone, but for "
        "fgsm-rs) | free (replays of each batch) | gaussian (noise, for randomized smoothing) | "
        "standard | probe (the head alone) | ibp | crown-ibp | sabr | mtl-ibp "
        "(certified, L-inf alone; they draw the weights anew where nothing was pretrained) | "
        "module:function (returns an objective; called with class_weights where it takes them)",
    ] = "madry"
    beta: Annotated[
        float | None,
        "Weight of robustness, by trades and mart: 6 without for trades, 5 for mart.",
    ] = None
    awp: Annotated[
        float,
        "Gamma of adversarial weight perturbation, by madry, trades and mart: 0 for none; 0.005 is usual.",
    ] = 0.0
    attack_steps: Annotated[int | None, "Steps of PGD in training, by madry, trades and mart: 2 without."] = (
        None
    )
    attack_step_size: Annotated[
        float | None, "Length of these steps, in multiples of eps: 1.5 / steps without."
    ] = None
    replays: Annotated[int | None, "Steps in a row on each batch, by free: 4 without."] = None
    sigma: Annotated[
        float | None, "Deviation of the noise in units of pixels in [0, 1], by gaussian: 0.25 without."
    ] = None
    other_threats: Annotated[
        str,
        "Threats that madry, trades and mart train against in addition to --norm and --eps: none | "
        "NORM:EPS,..., such as l2:1/2,l1:12",
    ] = "none"
    combine_threats: Annotated[
        str, "With --other-threats: max (each image under its worst threat) | average (over threats)"
    ] = "max"
    views: Annotated[
        str,
        "Augmentation in fine-tuning: none | light (moves and flips) | natural | digits | medical",
    ] = "none"
    cutmix: Annotated[
        float,
        "Probability that an image gets a rectangle of another one, and both labels, by madry and fgsm-rs.",
    ] = 0.0
    label_smoothing: Annotated[
        float,
        "Mass moved from the label to all classes, by madry, standard, free, gaussian and those of one "
        "attack step but liet, which has 0.6.",
    ] = 0.0
    class_weights: Annotated[
        str,
        "none | balanced (by the counts of the training images) | W,W,... for each class",
    ] = "none"
    optimiser: Annotated[str, "Of fine-tuning: auto | sgd | adamw"] = "auto"
    lr: Annotated[float | None, "Peak learning rate of fine-tuning; without --optimiser, of adamw."] = None
    rate_probe: Annotated[
        bool,
        "Try 0.1, 0.3, 1 and 3 times the learning rate, for 3 % of the budget each, and fine-tune with the "
        "best on held-out images.",
    ] = False
    momentum: Annotated[float | None, "Of sgd: 0.9 without."] = None
    weight_decay: Annotated[float | None, "Of fine-tuning."] = None
    pretrain_lr: Annotated[float | None, "Of AdamW in pretraining; --lr without, where that is of adamw."] = (
        None
    )
    pretrain_share: Annotated[float, "Share of the budget for pretraining."] = 0.2
    schedule: Annotated[
        str,
        "Of the learning rate: auto (one-cycle, or cosine for ibp and its like) | cosine | "
        "one-cycle | piecewise",
    ] = "auto"
    warmup: Annotated[float | None, "Share of the stage over which the learning rate rises."] = None
    ramp: Annotated[
        float | None,
        "Share of fine-tuning over which eps rises from 0: 0.5; 0.3 for ibp and its like.",
    ] = None
    average: Annotated[float, "Decay of the moving average of the weights; 0 for none."] = 0.99
    tail_average: Annotated[
        float | None,
        "In place of --average, the mean of the weights from this share of fine-tuning on, such as 0.5.",
    ] = None
    clip: Annotated[float, "Largest length of the gradient of the weights."] = 5.0
    rollbacks: Annotated[
        int,
        "Returns to earlier weights in a stage, at most: where the loss is not finite, or training overfits "
        "to its own attack.",
    ] = 4
    guard_checks: Annotated[int, "Checks of a stage for such overfitting; 0 for none."] = 20
    guard_share: Annotated[float, "Share of the passes that these checks may take."] = 0.02
    precision: Annotated[
        str,
        "Of the passes of training: float32 | bfloat16 | auto (as the device multiplies)",
    ] = "float32"
    validations: Annotated[
        int | None, "How often robust accuracy is measured in fine-tuning; 0 for never."
    ] = None
    validation_share: Annotated[
        float, "Share of the passes of fine-tuning that these may take; 1 for no limit."
    ] = 0.05
    max_clean_drop: Annotated[
        float | None,
        "Largest loss of clean accuracy on the held-out images, 0.02 for instance; the run ends with code 1 "
        "where no weights are within it and more robust.",
    ] = None
    held_out: Annotated[float, "Share of the training images that choose the checkpoint."] = 0.1
    held_out_limit: Annotated[int, "And the largest number of these."] = 512


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
