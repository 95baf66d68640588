"""The options that choose how a network is trained: with them every field of a recipe can be set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import typer


@final
@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """The training options of `harden run`; None and "auto" leave a choice to the recipe.

    `harden.hardening.named_recipes.RecipeNames` says what each means.
    """

    pretrain: Annotated[
        str,
        typer.Option(
            help="none | simclr | moco | acl (attacked views) | module:function (returns an objective)"
        ),
    ] = "none"
    finetune: Annotated[
        str,
        typer.Option(
            help="madry | trades | mart | n-fgsm | fgsm-rs | fgsm-pgi (one attack step; n-fgsm and fgsm-pgi: "
            "L-inf alone) | standard | probe (the head alone) | ibp | crown-ibp | sabr | mtl-ibp "
            "(certified, L-inf alone; they draw the weights anew where nothing was pretrained) | "
            "module:function (returns an objective; called with class_weights where it takes them)"
        ),
    ] = "madry"
    beta: Annotated[
        float | None,
        typer.Option(help="Weight of robustness, by trades and mart: 6 without for trades, 5 for mart."),
    ] = None
    awp: Annotated[
        float,
        typer.Option(
            help="Gamma of adversarial weight perturbation, by madry, trades and mart: 0 for none; 0.005 is "
            "usual."
        ),
    ] = 0.0
    attack_steps: Annotated[
        int | None, typer.Option(help="Steps of PGD in training, by madry, trades and mart: 2 without.")
    ] = None
    attack_step_size: Annotated[
        float | None, typer.Option(help="Length of these steps, in multiples of eps: 1.5 / steps without.")
    ] = None
    views: Annotated[
        str,
        typer.Option(
            help="Augmentation in fine-tuning: none | light (moves and flips) | natural | digits | medical"
        ),
    ] = "none"
    label_smoothing: Annotated[
        float,
        typer.Option(
            help="Mass moved from the label to all classes, by madry, standard and those of one attack step."
        ),
    ] = 0.0
    class_weights: Annotated[
        str,
        typer.Option(help="none | balanced (by the counts of the training images) | W,W,... for each class"),
    ] = "none"
    optimiser: Annotated[str, typer.Option(help="Of fine-tuning: auto | sgd | adamw")] = "auto"
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate of fine-tuning; without --optimiser, of adamw.")
    ] = None
    momentum: Annotated[float | None, typer.Option(help="Of sgd: 0.9 without.")] = None
    weight_decay: Annotated[float | None, typer.Option(help="Of fine-tuning.")] = None
    pretrain_lr: Annotated[
        float | None, typer.Option(help="Of AdamW in pretraining; --lr without, where that is of adamw.")
    ] = None
    pretrain_share: Annotated[float, typer.Option(help="Share of the budget for pretraining.")] = 0.2
    schedule: Annotated[
        str,
        typer.Option(
            help="Of the learning rate: auto (one-cycle, or cosine for ibp and its like) | cosine | "
            "one-cycle | piecewise"
        ),
    ] = "auto"
    warmup: Annotated[
        float | None, typer.Option(help="Share of the stage over which the learning rate rises.")
    ] = None
    ramp: Annotated[
        float | None,
        typer.Option(help="Share of fine-tuning over which eps rises from 0: 0.5; 0.3 for ibp and its like."),
    ] = None
    average: Annotated[
        float, typer.Option(help="Decay of the moving average of the weights; 0 for none.")
    ] = 0.99
    clip: Annotated[float, typer.Option(help="Largest length of the gradient of the weights.")] = 5.0
    precision: Annotated[
        str,
        typer.Option(help="Of the passes of training: float32 | bfloat16 | auto (as the device multiplies)"),
    ] = "float32"
    validations: Annotated[
        int | None, typer.Option(help="How often robust accuracy is measured in fine-tuning; 0 for never.")
    ] = None
    validation_share: Annotated[
        float, typer.Option(help="Share of the passes of fine-tuning that these may take; 1 for no limit.")
    ] = 0.05
    held_out: Annotated[
        float, typer.Option(help="Share of the training images that choose the checkpoint.")
    ] = 0.1
    held_out_limit: Annotated[int, typer.Option(help="And the largest number of these.")] = 512
