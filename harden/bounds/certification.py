"""Certification of images: lower bounds of their margins over a region, the fastest method first."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from harden.bounds.branch_and_bound.prove_regions import Branching
from harden.bounds.branch_and_bound.splits import VerificationQueries
from harden.bounds.crown.alpha import SlopeAscent
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import at_once, relax
from harden.bounds.program import Program
from harden.bounds.region import Region
from harden.errors import InputError
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class Method:
    """The methods of a proof, and their effort.

    Args:
        parallel: lower lines with the slopes of Wong & Kolter (1711.00851), else those of CROWN.
        climb: gradient ascent over the slopes on what is not proved; None for none.
        rounding: whether the bounds hold for float32 execution; without it they are about real numbers.
        batch: images at a time.
        backward: whether CROWN bounds every value; without it intervals do, and CROWN the margins alone.
        branching: the search that cuts into parts what is still not proved; None for none.
    """

    parallel: bool = False
    climb: SlopeAscent | None = field(default_factory=SlopeAscent)
    rounding: bool = True
    batch: int = 32
    backward: bool = True
    branching: Branching | None = None

    def __str__(self) -> str:
        """The method's name in reports."""
        if not self.backward:
            found = "interval bounds, one linear pass for the margins"
        else:
            slopes = "the slopes of Wong and Kolter" if self.parallel else "adaptive slopes"
            ascent = "" if self.climb is None else ", climbed"  # the word is part of certificates
            found = f"CROWN, {slopes}{ascent}"
        if self.branching is not None:
            found = f"{found}, branch and bound"
        return f"{found}; {'deployed float32' if self.rounding else 'real numbers, no proof of a file'}"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Proofs:
    """Lower bounds of min_j (logit_y - logit_j) over each image's region.

    Args:
        margins: (N,) float64; above 0 is a proof. -inf where no bound could be had.
        seconds: the time that it took.
        candidates: by image, for those that branching left open, the float32 input of the ball at which a
            counterexample is likeliest: to be replayed in the runtime, and not believed.
        stopped: images that are not proved and for which time was up before the method had done all it does.
    """

    margins: Tensor
    seconds: float
    candidates: Mapping[int, Tensor] = field(default_factory=dict)
    stopped: frozenset[int] = frozenset()

    @property
    def certified(self) -> Tensor:
        """(N,) bool: no input of the region is answered by another class."""
        return self.margins > 0

    def without(self, images: Tensor) -> Proofs:
        """These, but images (M,) int64 are not proved: their proof was stopped."""
        if not len(images):
            return self
        margins = self.margins.index_fill(0, images.to(self.margins.device), -math.inf)
        return replace(self, margins=margins, stopped=self.stopped | set(images.tolist()))


def certify(
    program: Program | Sequence[Program],
    x: Tensor,
    y: Tensor,
    threat: Threat,
    method: Method | None = None,
    *,
    until: float = math.inf,
) -> Proofs:
    """Bound the worst margin of each image within a threat model.

    Three methods, each on the images that the one before left open: intervals with one backward pass for the
    margins, CROWN for every value, slopes by gradient ascent; then branch and bound, where the method has it.
    Guarantee (with rounding): if a margin is above 0, then for every float32 input of the region the float32
    logits of each program, summed in any order, with or without fused multiply-adds and flushing of
    denormals, have their only maximum at y.

    Args:
        program: the network; or several, the graphs that a runtime executes for one file: then a margin is
            the least over all of them, each tried on what the ones before it proved.
        x: (N, ...) as the network takes them.
        y: (N,) labels.
        threat: Linf, L2 or L1, with the data's box.
        method: how the proof is tried.
        until: by `time.monotonic`, when no further bound is begun: what is proved by then counts.

    Raises:
        InputError: images or labels do not fit the network, or are not finite.
    """
    method, start = method or Method(), time.monotonic()
    programs = (program,) if isinstance(program, Program) else tuple(program)
    margins = torch.full((len(x),), torch.inf, dtype=torch.float64)
    candidates: dict[int, Tensor] = {}
    stopped = set[int]()
    for number, each in enumerate(programs):
        _check(each, x, y)
        left = (margins > 0).nonzero().flatten()
        end = shared(until, len(programs) - number)
        found = _certified(each, x[left], y[left], threat, method, end)
        margins[left] = torch.minimum(margins[left], found.margins)
        candidates.update((int(left[at]), point) for at, point in found.candidates.items())
        stopped.update(int(left[at]) for at in found.stopped)
    return Proofs(margins, time.monotonic() - start, candidates, frozenset(stopped))


def shared(until: float, shares: int) -> float:
    """The end, by `time.monotonic`, of one of several equal shares of the time until then."""
    now = time.monotonic()
    return now + max(until - now, 0.0) / shares


def _certified(
    program: Program, x: Tensor, y: Tensor, threat: Threat, method: Method, until: float
) -> Proofs:
    """The proofs of one program."""
    with torch.no_grad():
        margins = torch.full((len(x),), -torch.inf, dtype=torch.float64)
        stopped = set[int]()
        for part in torch.split(torch.arange(len(x)), method.batch):
            margins[part] = _batch(program, x[part], y[part], threat, method, until)
            if time.monotonic() >= until:
                stopped |= {at for at in part.tolist() if not margins[at] > 0}
        if method.branching is None:
            return Proofs(margins, 0.0, {}, frozenset(stopped))
        method = replace(method, branching=method.branching.before(until))
        candidates, given_up = _raise_by_branching_(program, x, y, threat, method, margins)
    return Proofs(margins, 0.0, candidates, frozenset(given_up))


def worst_margins(
    found: Relaxation, labels: Tensor, climb: SlopeAscent | None = None, until: float = math.inf
) -> Tensor:
    """Lower bounds of min_j (logit_y - logit_j), (N,); -inf where there is none."""
    program, bounds = found.program, []
    rows, image = margin_rows(labels, program.classes, found.region.lower)
    # Gradient ascent holds slopes and gradients in addition to the coefficients.
    most = at_once(program) if climb is None else max(1, at_once(program) // 4)
    for few, of in zip(torch.split(rows, most), torch.split(image, most), strict=True):
        coefficients = DenseCoefficients(few.reshape(-1, *program.logits))
        if climb is None:
            bounds.append(found.lower(program.output, coefficients, of))
        else:
            bounds.append(climb.before(until)(found, program.output, coefficients, of))
    worst = torch.cat(bounds).reshape(len(labels), -1).amin(1)
    return torch.where(worst.isnan(), -torch.inf, worst)


def _batch(program: Program, x: Tensor, y: Tensor, threat: Threat, method: Method, until: float) -> Tensor:
    region, margins = Region.around(x, threat), torch.full((len(x),), -torch.inf, dtype=torch.float64)
    left = torch.arange(len(x))
    for backward in (False, True)[: 1 + method.backward]:
        if not len(left) or time.monotonic() >= until:
            break
        found = relax(
            program,
            region.take(left),
            parallel=method.parallel,
            rounding=method.rounding,
            backward=backward,
            until=until,
        )
        climb = method.climb if backward else None
        margins[left] = torch.maximum(margins[left], worst_margins(found, y[left], climb, until))
        left = left[margins[left] <= 0]
    return margins


def _raise_by_branching_(  # in place
    program: Program, x: Tensor, y: Tensor, threat: Threat, method: Method, margins: Tensor
) -> tuple[dict[int, Tensor], set[int]]:
    """Raise margins (N,) of 0 and less by branch and bound.

    Returns:
        candidates of the images that stay open, and those for which time was up.
    """
    branching, left = method.branching or Branching(), (margins <= 0).nonzero().flatten()
    candidates, stopped, begin = dict[int, Tensor](), set[int](), time.monotonic()
    parts = torch.split(left, method.batch) if len(left) else ()
    for number, part in enumerate(parts):
        share = branching.within(begin, len(parts) - number)
        until = math.inf if share.seconds is None else time.monotonic() + share.seconds
        found = relax(
            program,
            Region.around(x[part], threat),
            parallel=method.parallel,
            rounding=method.rounding,
            until=until,
        )
        rows, image = margin_rows(y[part], program.classes, found.region.lower)
        answers = share.before(until)(
            found, VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1))
        )
        bounds, points = answers.bounds.reshape(len(part), -1), answers.points
        late = answers.stopped.reshape(len(part), -1).any(1)
        margins[part] = torch.maximum(margins[part], bounds.amin(1))
        for at, worst in enumerate(answers.likeliest.reshape(len(part), -1).argmin(1).tolist()):
            image_at = int(part[at])
            if not margins[image_at] > 0:
                stopped |= {image_at} if late[at] else set()
                point = points[at * bounds.shape[1] + worst][None].clone()
                threat.project_(point, x[image_at][None].to(torch.float32))
                candidates[image_at] = point[0]
    return candidates, stopped


def _check(program: Program, x: Tensor, y: Tensor) -> None:
    if tuple(x.shape[1:]) != program.size or len(x) != len(y):
        raise InputError(
            f"images {tuple(x.shape)} and {len(y)} labels",
            f"images (N, {', '.join(map(str, program.size))}) and N labels",
            "pass a batch as the network takes it",
        )
    if program.classes < 2:
        raise InputError(
            f"a network with {program.classes} logit", "one for each class", "export z as the logits (0, z)"
        )
    if not bool(x.isfinite().all()):
        raise InputError("images with NaN or infinity", "finite numbers", "check how they were read")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < program.classes:
        raise InputError(
            f"labels from {int(y.min())} to {int(y.max())}",
            f"labels from 0 to {program.classes - 1}",
            "pass the classes' numbers",
        )


def margin_rows(labels: Tensor, classes: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The coefficients of logit_y - logit_j for every image and each other class j, in order.

    Returns:
        (P, K) coefficients and (P,) images, P = N (K - 1).
    """
    image = torch.arange(len(labels), device=labels.device).repeat_interleave(classes)
    other = torch.arange(classes, device=labels.device).repeat(len(labels))
    kept = other != labels[image]
    image, other = image[kept], other[kept]
    rows = like.new_zeros(len(image), classes)
    rows[torch.arange(len(image)), labels[image]] = 1
    rows[torch.arange(len(image)), other] = -1
    return rows, image
