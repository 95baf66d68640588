"""Memory order of convolutions' weights in training: channels last where the network computes the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from harden.models import Classifier
from harden.training.compute.change_trial import works_under

_ROUNDING: Final = 1e-3
"""Largest difference of logits, as a share of the largest logit, that another order of sums explains."""


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
    if (
        not weights
        or model.device.type != "cpu"
        or not works_under(_all_channels_last, model, x, rounding=_ROUNDING)
    ):
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


@contextmanager
def _all_channels_last(copy: Classifier) -> Iterator[None]:
    _lay_out(_convolution_weights(copy), torch.channels_last)
    yield


def _convolution_weights(model: Classifier) -> list[nn.Parameter]:
    """Weights of convolutions that are not channels last already.

    They are parameters; a weight that is computed from others at every forward is none.
    """
    convolutions = (part for part in model.network.modules() if isinstance(part, nn.Conv2d))
    named = (dict(part.named_parameters(recurse=False)).get("weight") for part in convolutions)
    present = [weight for weight in named if weight is not None]
    return [each for each in present if not each.is_contiguous(memory_format=torch.channels_last)]


def _lay_out(weights: Sequence[Tensor], layout: torch.memory_format) -> None:
    """Give tensors (A, B, C, D) another memory order, in place: weights stay the same parameters."""
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=layout)
