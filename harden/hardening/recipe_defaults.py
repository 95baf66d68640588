"""Optimiser and number format of fine-tuning where a recipe leaves them open."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harden.hardening.recipe import Recipe
from harden.models import Classifier, bfloat16_is_native
from harden.objectives import (
    LIET,
    MART,
    NFGSM,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    Objective,
    PriorGuidedFGSM,
    Standard,
)
from harden.objectives.awp import without_wrappers
from harden.training import SGD, AdamW
from harden.training.optimisers import Optimiser

_EMPIRICAL = (
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    LIET,
    MART,
    NFGSM,
    PriorGuidedFGSM,
    Standard,
    TRADES,
)


def with_defaults(recipe: Recipe, model: Classifier, device: torch.device | None = None) -> Recipe:
    """The recipe with what it leaves open.

    That is the optimiser, by objective and network, and bfloat16, where the device multiplies it in hardware.

    Args:
        recipe: how to harden.
        model: what is hardened.
        device: of the training; the model's by default.
    """
    optimiser, bfloat16 = recipe.optimiser, recipe.bfloat16
    return replace(
        recipe,
        optimiser=default_optimiser(recipe.finetune, model) if optimiser is None else optimiser,
        bfloat16=bfloat16_is_native(device or model.device) if bfloat16 is None else bfloat16,
    )


def default_optimiser(objective: Objective, model: Classifier) -> Optimiser:
    """The optimiser for an objective on a network.

    Under adversarial or plain training: SGD with a peak rate of 0.15 where BatchNorm follows the
    convolutions, AdamW with 5e-3 for other convolutional networks without LayerNorm. For the rest,
    transformers and certified training among them, AdamW with 1e-3. `benchmarks/finetune.py` compares rates
    of adversarial training by PGD; MART, AWP, MultiNorm, training under noise and objectives of one attack
    step or of replays have the same.
    """
    if not isinstance(without_wrappers(objective), _EMPIRICAL):
        return AdamW()
    parts = list(model.network.modules())
    convolutions = sum(isinstance(part, nn.Conv2d) for part in parts)
    if not convolutions or any(isinstance(part, nn.LayerNorm) for part in parts):
        return AdamW()
    norms = sum(isinstance(part, _BatchNorm) for part in parts)
    return SGD(0.15) if 2 * norms >= convolutions else AdamW(5e-3)
