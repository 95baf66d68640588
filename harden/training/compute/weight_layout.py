"""Memory order of convolutions' weights in training: channels last where the network computes the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from harden.models import Classifier, float32_copy
from harden.models.out_of_memory import ran_out_of_memory
from harden.models.pass_count import uncounted

_EXAMPLES: Final = 4
_ROUNDING: Final = 1e-3
"""Largest difference of logits, as a share of the largest logit, that another order of sums explains."""
_log = logging.getLogger("harden")


@contextmanager
def channels_last(model: Classifier, x: Tensor, optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Keep the convolutions' weights channels last inside the context, where that is faster and correct.

    On CPU torch computes most convolutions faster in this order. A network whose forward depends on the
    order, such as one with `x.view(len(x), -1)` behind a convolution, keeps its own. Values, names and shapes
    of weights are the same in both.

    Args:
        model: trained, on any device.
        x: a batch of images (N, C, H, W), of which a few are tried.
        optimiser: of these weights; the moments that it has of them, in a stage that is resumed, are laid out
            alike, since torch rounds otherwise where the orders of two tensors differ.
    """
    weights = _convolution_weights(model)
    if not weights or model.device.type != "cpu" or not _computes_the_same(model, x[:_EXAMPLES]):
        yield
        return
    _lay_out(weights, torch.channels_last)
    for weight in weights:
        moments = optimiser.state.get(weight, {}).values()
        _lay_out(
            [each for each in moments if isinstance(each, Tensor) and each.dim() == 4], torch.channels_last
        )
    try:
        yield
    finally:
        _lay_out(weights, torch.contiguous_format)


@uncounted()
def _computes_the_same(model: Classifier, x: Tensor) -> bool:
    """Whether both orders give the same logits, and gradients can be computed in the other one, on a copy."""
    copy = float32_copy(model)
    modes = [(part, part.training) for part in copy.modules()]
    try:
        with torch.random.fork_rng(devices=[]):
            # In inference mode: dropout draws its masks in the order of memory.
            copy.eval()
            expected = copy.logits(x).detach()
            _lay_out(_convolution_weights(copy), torch.channels_last)
            found = copy.logits(x).detach()
            for part, mode in modes:
                part.training = mode
            torch.autograd.backward(copy.logits(x).sum())
    except Exception as error:  # a user's forward may raise anything in another order of memory
        if ran_out_of_memory(error):
            raise
        _log.info("training keeps the weights' own memory order: %s", error)
        return False
    apart = (found - expected).abs().max()
    return bool(apart <= _ROUNDING * expected.abs().max() + 1e-6)


def _convolution_weights(model: Classifier) -> list[nn.Parameter]:
    """Weights of convolutions that are parameters, and not computed from others at every forward."""
    convolutions = (part for part in model.network.modules() if isinstance(part, nn.Conv2d))
    named = (dict(part.named_parameters(recurse=False)).get("weight") for part in convolutions)
    return [weight for weight in named if weight is not None]


def _lay_out(weights: Sequence[Tensor], layout: torch.memory_format) -> None:
    """Give tensors (A, B, C, D) another memory order, in place: weights stay the same parameters."""
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=layout)
