"""Differentiable intervals and lower bounds of all margins: the quantities that certified training minimises.

The difference of two logits is itself affine in what the last layer reads. Bounded directly, it does not pay
twice for what both logits have in common (Gowal et al., arXiv 1810.12715, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from harden.bounds.certification import margin_rows
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.program import Program
from harden.bounds.region import Region
from harden.bounds.rules import Affine, Interval


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
    each, total = rows.reshape(-1, *program.logits), rows.new_zeros(len(rows))
    rules, name = affine_end(program)
    for rule in rules:
        total = total + (each * rule.offset).flatten(1).sum(1)
        (each,) = rule.transpose(each)
    lower, upper = (end.flatten(1)[:, :, None] for end in found.intervals[name])
    weight = each.reshape(len(labels), program.classes - 1, -1)
    least = weight @ ((lower + upper) * 0.5) - weight.abs() @ ((upper - lower) * 0.5)
    return least[..., 0] + total.reshape(len(labels), -1)


def linear_margins(found: Relaxation, labels: Tensor) -> Tensor:
    """Lower bounds (N, K - 1) of the same by lines carried back to the images (CROWN), on these intervals."""
    rows, image = margin_rows(labels, found.program.classes, found.region.lower)
    bounds = found.lower(
        found.program.output, DenseCoefficients(rows.reshape(-1, *found.program.logits)), image
    )
    return bounds.reshape(len(labels), -1)


def worst_logits(margins: Tensor) -> Tensor:
    """Logits (N, K) whose softmax is the worst that margins (N, K - 1) allow: the label's, 0, comes first."""
    return torch.cat((margins.new_zeros(len(margins), 1), -margins), 1)


def affine_end(program: Program) -> tuple[list[Affine], str]:
    """The affine rules at the end, the last first, and the value that they start from."""
    rules: list[Affine] = []
    name = program.output
    for step in reversed(program.steps):
        if step.name != name or not isinstance(step.rule, Affine) or len(step.inputs) != 1:
            break
        rules.append(step.rule)
        (name,) = step.inputs
    return rules, name


def propagate_intervals(program: Program, lower: Tensor, upper: Tensor) -> Relaxation:
    """Interval arithmetic alone, without rounding, over boxes (N, ...): differentiable, in their dtype.

    The same bounds as `relaxed(..., rounding=False, backward=False)`, in less time: between two functions
    that are not affine a value is carried as centre and radius, and gets bounds only where they are read: by
    such functions, by `interval_margins`, and of the logits.
    """
    found = Relaxation(program, Region(lower, upper), {program.input: (lower, upper)}, rounding=False)
    wanted = program.bent | {program.output, affine_end(program)[1]}
    balls: dict[str, Interval] = {}
    for step in program.steps:
        rule = step.rule
        if not isinstance(rule, Affine):
            found.intervals[step.name] = rule.interval(*found.intervals[step.inputs[0]])
            continue
        given = [balls[name] if name in balls else _centred(*found.intervals[name]) for name in step.inputs]
        centre = rule.linear(*(ball[0] for ball in given)) + rule.offset
        radius = rule.spread(*(ball[1] for ball in given))
        balls[step.name] = centre, radius
        if step.name in wanted:
            found.intervals[step.name] = centre - radius, centre + radius
    return found


def _centred(lower: Tensor, upper: Tensor) -> Interval:
    return (lower + upper) * 0.5, (upper - lower) * 0.5
