"""Lower bounds of all margins by interval arithmetic, the last layer left out: what training minimises.

The difference of two logits is itself affine in what the last layer reads. Bounded directly, it does not pay
twice for what both logits have in common (Gowal et al., arXiv 1810.12715, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from harden.bounds.certification import margin_rows
from harden.bounds.coefficients import Whole
from harden.bounds.relaxation import Relaxation
from harden.bounds.rules import Affine


def interval_margins(found: Relaxation, labels: Tensor) -> Tensor:
    """Lower bounds (N, K - 1) of logit_y - logit_j for each other class j, in order.

    The coefficients go back through the affine operations at the end, one after the other, and meet the
    intervals of what the first of them reads. Differentiable; what is rounded is not included.

    Args:
        found: with the intervals of every value.
        labels: (N,).
    """
    program = found.program
    rows, _ = margin_rows(labels, program.classes, found.region.lower)
    each, name, total = rows.reshape(-1, *program.logits), program.output, rows.new_zeros(len(rows))
    for step in reversed(program.steps):
        if step.name != name:
            break
        if not isinstance(step.rule, Affine) or len(step.inputs) != 1:
            break
        total = total + (each * step.rule.offset).flatten(1).sum(1)
        (each,), (name,) = step.rule.transpose(each), step.inputs
    lower, upper = (end.flatten(1)[:, :, None] for end in found.intervals[name])
    weight = each.reshape(len(labels), program.classes - 1, -1)
    least = weight @ ((lower + upper) / 2) - weight.abs() @ ((upper - lower) / 2)
    return least[..., 0] + total.reshape(len(labels), -1)


def linear_margins(found: Relaxation, labels: Tensor) -> Tensor:
    """Lower bounds (N, K - 1) of the same by lines carried back to the images (CROWN), on these intervals."""
    rows, image = margin_rows(labels, found.program.classes, found.region.lower)
    bounds = found.lower(found.program.output, Whole(rows.reshape(-1, *found.program.logits)), image)
    return bounds.reshape(len(labels), -1)


def worst_logits(margins: Tensor) -> Tensor:
    """Logits (N, K) whose softmax is the worst that margins (N, K - 1) allow: the label's, 0, comes first."""
    return torch.cat((margins.new_zeros(len(margins), 1), -margins), 1)
