"""The optimiser of fine-tuning where a recipe names none."""

from __future__ import annotations

from dataclasses import replace

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harden.hardening.recipe import Recipe
from harden.models import Classifier
from harden.objectives import NFGSM, TRADES, AdversarialTraining, Objective, PriorGuidedFGSM, Standard
from harden.training import SGD, AdamW
from harden.training.optimisers import Optimiser


def with_optimiser(recipe: Recipe, model: Classifier) -> Recipe:
    """The recipe with the optimiser that suits its objective and a network, where it names none."""
    if recipe.optimiser is not None:
        return recipe
    return replace(recipe, optimiser=default_optimiser(recipe.finetune, model))


def default_optimiser(objective: Objective, model: Classifier) -> Optimiser:
    """The optimiser for an objective on a network.

    Under adversarial or plain training: SGD with a peak rate of 0.15 where BatchNorm follows the
    convolutions, AdamW with 5e-3 for other convolutional networks without LayerNorm, which lose clean
    accuracy at such a rate of SGD. For the rest, transformers and certified training among them, AdamW with
    1e-3. The rates were compared at equal passes (`benchmarks/finetune.py`).
    """
    if not isinstance(objective, AdversarialTraining | TRADES | NFGSM | PriorGuidedFGSM | Standard):
        return AdamW()
    parts = list(model.network.modules())
    convolutions = sum(isinstance(part, nn.Conv2d) for part in parts)
    if not convolutions or any(isinstance(part, nn.LayerNorm) for part in parts):
        return AdamW()
    norms = sum(isinstance(part, _BatchNorm) for part in parts)
    return SGD(0.15) if 2 * norms >= convolutions else AdamW(5e-3)
