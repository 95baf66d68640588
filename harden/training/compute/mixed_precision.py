"""Test of whether a network can be trained with its passes in bfloat16."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from harden.models import Classifier
from harden.training.compute.change_trial import works_under

_ROUNDING: Final = 0.5
"""Largest difference of logits, as a share of the largest logit, that bfloat16 explains."""


def computes_in_bfloat16(model: Classifier, x: Tensor) -> bool:
    """Whether a forward and backward under autocast to bfloat16 work, with logits near those in float32.

    A network that names a type in its forward, or multiplies buffers of its own, may not.

    Args:
        model: trained.
        x: images (N, C, H, W) on its device, of which a few are used.
    """
    kind = model.device.type
    return works_under(lambda _: torch.autocast(kind, torch.bfloat16), model, x, rounding=_ROUNDING)
