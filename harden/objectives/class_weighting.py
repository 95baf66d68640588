"""Means over a batch in which classes may weigh differently."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from harden.errors import InputError
from harden.system.shards import batch_share, batch_total

ClassWeights = tuple[float, ...]
"""A weight for each class, in the order of the labels; () weighs all alike."""


def checked_weights(weights: ClassWeights) -> ClassWeights:
    """Give class weights as floats.

    Raises:
        InputError: a weight is negative or not finite, or none is positive.
    """
    values = tuple(float(weight) for weight in weights)
    if not all(0 <= weight < math.inf for weight in values) or (values and not any(values)):
        raise InputError(
            f"class weights {values}",
            "finite weights of 0 or more, not all 0",
            "write class_weights=harden.data.balanced_weights(labels, classes)",
        )
    return values


def cross_entropy(logits: Tensor, y: Tensor, weights: ClassWeights, label_smoothing: float = 0.0) -> Tensor:
    """sum_i w_{y_i} CE(z_i, y_i) / sum_i w_{y_i}: the mean over the batch where there are no weights.

    With label smoothing, an example's whole loss has the weight of its label. (torch's `weight` would weigh
    the smoothed mass by the classes that it goes to.)

    Raises:
        InputError: there are weights for more or fewer classes than logits.
    """
    if not weights:
        return functional.cross_entropy(logits, y, label_smoothing=label_smoothing)
    losses = functional.cross_entropy(logits, y, reduction="none", label_smoothing=label_smoothing)
    return weighted_mean(losses, y, weights, logits.shape[1])


def weighted_mean(
    losses: Tensor, y: Tensor, weights: ClassWeights, classes: int, shares: Tensor | None = None
) -> Tensor:
    """sum_i w_{y_i} l_i / sum_i w_{y_i} of losses (N,): their mean without weights, 0 where none is positive.

    With shares s_i (N,), each weight is s_i w_{y_i}.

    Raises:
        InputError: there are weights for more or fewer classes than `classes`.
    """
    if not weights:
        if shares is None:
            return losses.mean()
        return (shares * losses).sum() / (batch_total(shares.sum()) * batch_share())
    if len(weights) != classes:
        raise InputError(
            f"{len(weights)} class weights for {classes} logits",
            "a weight for each class",
            f"write class_weights=harden.data.balanced_weights(labels, {classes})",
        )
    weight = torch.tensor(weights, dtype=losses.dtype, device=losses.device)[y]
    if shares is not None:
        weight = shares * weight
    # Of a part of a batch, divided by its share of the images, which weighs the part's loss.
    total = batch_total(weight.sum()) * batch_share()
    # A batch of none but classes of weight 0 teaches nothing; 0 / 0 would end the run.
    return (weight * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))
