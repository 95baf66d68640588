"""Intervals of every value of a network over regions of inputs, each made tight by a backward pass."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from harden.bounds.crown.alpha import SlopeAscent
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import (
    Coefficients,
    DenseCoefficients,
    Size,
    WindowCoefficients,
    per_image,
)
from harden.bounds.float_rounding import SMALLEST_32
from harden.bounds.program import Program, ProgramStep
from harden.bounds.region import Region
from harden.bounds.rules import Affine, Interval, Pooling, Rectifier

MEMORY = 2**25
"""Bytes of coefficients that one pass may carry at the widest value: more leaves the caches, and is slow."""
ALONE = 32
"""Bounds an image from which on its own pass is faster."""


def relax(
    program: Program,
    region: Region,
    *,
    parallel: bool = False,
    rounding: bool = True,
    backward: bool = True,
    until: float = math.inf,
) -> Relaxation:
    """Bound every value of the network, from the images to the logits.

    Interval arithmetic bounds all of them; what goes into a function that is not affine, and can be on both
    sides of its kink, is also bounded by CROWN, and the tighter of both is kept.

    Args:
        program: the network.
        region: the inputs, N of them.
        parallel: see `Relaxation`.
        rounding: see `Relaxation`.
        backward: whether CROWN refines; without it these are the intervals of interval arithmetic (IBP).
        until: by `time.monotonic`, when CROWN refines no further value: interval arithmetic bounds the rest.
    """
    found = Relaxation(program, region, {program.input: (region.lower, region.upper)}, parallel, rounding)
    worth = _worth_refining(program, box=region.centre is None)
    wanted = _needed_signs(program)
    for step in program.steps:
        lower, upper = _interval(found, step)
        if backward and step.name in worth:
            lower, upper = refine(found, step, (lower, upper), step.name in wanted, until=until)
        found.intervals[step.name] = lower, upper
    return found


def narrow(found: Relaxation, image: Tensor, signs: Mapping[str, Tensor]) -> Relaxation:
    """The intervals of some images where, in addition, values are known to have some sign.

    Interval arithmetic propagates the signs; no interval is wider than before. One that is empty, its lower
    end above its upper, says that nothing has these signs.

    Args:
        found: with all its intervals.
        image: (P,) of its images, also several times.
        signs: by a value's name, (P, *size): above 0 where the value is at least 0, below where at most.
    """
    region = found.region.take(image)
    start = {found.program.input: (region.lower, region.upper)}
    again = Relaxation(found.program, region, start, found.parallel, found.rounding)
    for step in found.program.steps:
        lower, upper = _interval(again, step)
        before = found.intervals[step.name]
        lower, upper = torch.maximum(lower, before[0][image]), torch.minimum(upper, before[1][image])
        sign = signs.get(step.name)
        if sign is not None:
            lower = torch.where(sign > 0, lower.clamp_min(0), lower)
            upper = torch.where(sign < 0, upper.clamp_max(0), upper)
        again.intervals[step.name] = lower, upper
    return again


def sharpen(found: Relaxation, ascent: SlopeAscent, until: float | None = None) -> Relaxation:
    """All intervals again, with gradient ascent over the slopes of each value whose sign is open.

    Args:
        found: with all its intervals.
        ascent: over the slopes.
        until: by `time.monotonic`, when no more is begun.
    """
    program, region = found.program, found.region
    again = Relaxation(program, region, {program.input: (region.lower, region.upper)}, found.parallel)
    again.rounding = found.rounding
    worth, wanted = _worth_refining(program, box=region.centre is None), _needed_signs(program)
    for step in program.steps:
        lower, upper = _interval(again, step)
        before = found.intervals[step.name]
        again.intervals[step.name] = torch.maximum(lower, before[0]), torch.minimum(upper, before[1])
        last = math.inf if until is None else until
        left = last - time.monotonic()
        if step.name in worth & wanted and left > 0:
            hurried = ascent if until is None else replace(ascent, seconds=left / (2 * len(region)))
            interval = refine(again, step, again.intervals[step.name], True, hurried, last)
            again.intervals[step.name] = interval
    return again


def _interval(found: Relaxation, step: ProgramStep) -> Interval:
    rule, inputs = step.rule, [found.intervals[name] for name in step.inputs]
    if isinstance(rule, Affine):
        lower, upper = rule.interval(*inputs)
        lost = found.charge(step) if found.rounding else 0.0
    else:
        lower, upper = rule.interval(*inputs[0])
        lost = SMALLEST_32 if found.rounding else 0.0  # where a denormal result is flushed
    return lower - lost, upper + lost


def refine(
    found: Relaxation,
    step: ProgramStep,
    interval: Interval,
    sign_alone: bool = False,
    ascent: SlopeAscent | None = None,
    until: float = math.inf,
) -> Interval:
    """The interval, and that of CROWN where it can matter, whichever end is tighter.

    Args:
        found: what is known of the values before.
        step: whose value is bounded.
        interval: what is known of it, (N, *size) each.
        sign_alone: whether values on both sides of 0 alone can matter.
        ascent: over the slopes; None for none.
        until: by `time.monotonic`, when no further bounds are begun: the others keep what is known.
    """
    bound = found.lower if ascent is None else partial(ascent, found)
    memory = MEMORY if ascent is None else MEMORY // 4  # it also holds slopes and gradients
    lower, upper = (per_image(each).clone() for each in interval)
    open_ = (lower < 0) & (upper > 0) if sign_alone else lower < upper
    for of, at in _rounds(open_, found.program, memory):
        if time.monotonic() >= until:
            break
        unit = _unit(at, step.size, lower)
        lower[of, at] = torch.maximum(lower[of, at], bound(step.name, unit, of))
        minus = unit.with_(-unit.each)
        upper[of, at] = torch.minimum(upper[of, at], -bound(step.name, minus, of))
    shape = (len(lower), *step.size)
    return lower.reshape(shape), upper.reshape(shape)


def _rounds(wanted: Tensor, program: Program, memory: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and places of the bounds that are wanted, so many at a time that their coefficients fit.

    Where an image has many, they go by themselves: `image` is then one number, and what is known of that
    image is read in place and not copied for each bound.
    """
    most = at_once(program, memory)
    if int(wanted.sum()) >= ALONE * len(wanted):
        for number, row in enumerate(wanted):
            for places in torch.split(row.nonzero().flatten(), most):
                if len(places):
                    yield torch.full((1,), number, device=wanted.device), places
        return
    for part in torch.split(wanted.nonzero(), most):
        if len(part):  # of nothing, split makes one part
            yield part[:, 0], part[:, 1]


def at_once(program: Program, memory: int = MEMORY) -> int:
    """The number of bounds whose coefficients fit into so many bytes at the widest value."""
    widest = max(math.prod(size) for size in (program.size, *(step.size for step in program.steps)))
    return max(1, memory // (8 * widest))


def _unit(places: Tensor, size: Size, like: Tensor) -> Coefficients:
    """Coefficients that single out one element each."""
    if len(size) == 3:
        return WindowCoefficients.unit(places, size, like)
    each = like.new_zeros(len(places), math.prod(size))
    each[torch.arange(len(places), device=like.device), places] = 1
    return DenseCoefficients(each.reshape(len(places), *size))


def _worth_refining(program: Program, *, box: bool) -> frozenset[str]:
    """Values that functions with kinks read and that interval arithmetic does not already bound well.

    It is exact for an affine operation on a box, and gives a function of one value its bounds over the
    refined interval of what that function reads.
    """
    boxes = {program.input} if box else set[str]()
    found = set()
    for step in program.steps:
        affine_of_box = isinstance(step.rule, Affine) and len(step.inputs) == 1 and step.inputs[0] in boxes
        if affine_of_box and isinstance(step.rule, Affine) and not step.rule.terms:
            boxes.add(step.name)  # moved, and a box still
        if step.name in program.bent and isinstance(step.rule, Affine | Pooling) and not affine_of_box:
            found.add(step.name)
    return frozenset(found)


def _needed_signs(program: Program) -> frozenset[str]:
    """Values that only rectifiers read: once their sign is settled, tighter bounds change nothing."""
    readers: dict[str, list[ProgramStep]] = {}
    for step in program.steps:
        for name in step.inputs:
            readers.setdefault(name, []).append(step)
    return frozenset(
        name for name, steps in readers.items() if all(isinstance(step.rule, Rectifier) for step in steps)
    )
