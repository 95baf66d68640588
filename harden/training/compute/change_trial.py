"""Trial of a change in how a network computes: on a copy, before training relies on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import torch
from torch import Tensor

from harden.models import Classifier, float32_copy
from harden.models.out_of_memory import ran_out_of_memory
from harden.models.pass_count import uncounted

_EXAMPLES: Final = 4
_log = logging.getLogger("harden")

Change = Callable[[Classifier], AbstractContextManager[object]]
"""A function that changes how a classifier computes while its context is open."""


@uncounted()
def works_under(change: Change, model: Classifier, x: Tensor, *, rounding: float) -> bool:
    """Whether a change keeps the logits up to rounding, and lets gradients of the weights be computed.

    The logits are compared in inference mode, since dropout draws its masks in the order of memory; the
    gradient is taken in the model's own modes. Neither the model nor a random generator is changed.

    Args:
        change: tried on a copy.
        model: any classifier.
        x: images (N, C, H, W), of which a few are used.
        rounding: largest difference of logits, as a share of the largest logit.
    """
    copy, few = float32_copy(model), x[:_EXAMPLES]
    modes = [(part, part.training) for part in copy.modules()]
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            copy.eval()
            expected = copy.logits(few).detach()
            with change(copy):
                found = copy.logits(few).detach()
                for part, mode in modes:
                    part.training = mode
                logits = copy.logits(few)
            torch.autograd.backward(logits.sum())
    except Exception as error:  # a user's forward may raise anything in another order of memory or type
        if ran_out_of_memory(error):
            raise
        _log.info("training leaves as it is how the network computes: %s", error)
        return False
    apart = (found - expected).abs().max()
    return bool(apart <= rounding * expected.abs().max() + 1e-6)
