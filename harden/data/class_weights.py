"""Class weights inversely proportional to class sizes."""

from __future__ import annotations

import torch

from harden.data.formats.arrays import labels as as_labels
from harden.errors import InputError


def balanced_weights(labels: object, classes: int) -> tuple[float, ...]:
    """Weigh classes inversely to their size: w_k = n / (K n_k), so that each has the same sum of weights.

    n examples, n_k of them of class k, K classes that have any. All weights together, sum_i w_{y_i}, are n. A
    class without examples has weight 0, which no loss uses.

    Args:
        labels: integers (N,), a tensor, an array or a sequence.
        classes: number of classes of the model.

    Raises:
        InputError: no labels, or one outside 0..classes - 1.
    """
    y = as_labels(labels, "labels")
    if y.ndim != 1 or len(y) == 0 or y.dtype != torch.int64:
        raise InputError(
            f"labels of type {str(y.dtype).removeprefix('torch.')} and shape {tuple(y.shape)}",
            "class numbers (N,), one at least",
            "pass source.labels()",
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise InputError(
            f"labels in {low}..{high}",
            f"labels in 0..{classes - 1}",
            "number classes from 0 and pass their count",
        )
    counts = torch.bincount(y.cpu(), minlength=classes).tolist()
    present = sum(count > 0 for count in counts)
    return tuple(len(y) / (present * count) if count else 0.0 for count in counts)
