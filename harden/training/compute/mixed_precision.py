"""Test of whether a network can be trained with its passes in bfloat16."""

from __future__ import annotations

import logging
from typing import Final

import torch
from torch import Tensor

from harden.models import Classifier, float32_copy
from harden.models.out_of_memory import ran_out_of_memory
from harden.models.pass_count import uncounted

_EXAMPLES: Final = 4
_ROUNDING: Final = 0.5
"""Largest difference of logits, as a share of the largest logit, that bfloat16 explains."""
_log = logging.getLogger("harden")


@uncounted()
def computes_in_bfloat16(model: Classifier, x: Tensor) -> bool:
    """Whether a forward and backward under autocast to bfloat16 work, with logits near those in float32.

    A network that names a type in its forward, or multiplies buffers of its own, may not. Tried on a copy.

    Args:
        model: trained.
        x: images (N, C, H, W), of which a few are used.
    """
    copy, few = float32_copy(model), x[:_EXAMPLES]
    modes = [(part, part.training) for part in copy.modules()]
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            copy.eval()
            expected = copy.logits(few).detach()
            with torch.autocast(model.device.type, torch.bfloat16):
                found = copy.logits(few).detach()
            for part, mode in modes:
                part.training = mode
            with torch.autocast(model.device.type, torch.bfloat16):
                logits = copy.logits(few)
            torch.autograd.backward(logits.sum())
    except Exception as error:  # a user's forward may raise anything under another type
        if ran_out_of_memory(error):
            raise
        _log.info("training stays in float32: %s", error)
        return False
    apart = (found - expected).abs().max()
    return bool(apart <= _ROUNDING * expected.abs().max() + 1e-6)
