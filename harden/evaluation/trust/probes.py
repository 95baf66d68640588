"""Trust checks that probe the network and the attack on an evaluation's first images.

Their sources are the check lists of Carlini et al. (1902.06705) and the indicators of attack failure of
Pintor et al. (2106.09947); that a cross-entropy is misled by the scale of logits is from Croce and Hein
(2003.01690).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from harden.data import Batch
from harden.draws import Draws, mix
from harden.errors import HardenError
from harden.evaluation.gradient_source import GradientSource
from harden.evaluation.judge import answers, predicted
from harden.evaluation.probability_outputs import as_logits, scores_of
from harden.evaluation.results.result import TrustCheck
from harden.evaluation.trust.gradient_fidelity import lines, repeated
from harden.evaluation.trust.probe_attacks import (
    ProbeInputs,
    broken_at_scale,
    broken_at_zero,
    kept_at_huge_eps,
    rise_with_eps,
    ties,
)
from harden.evaluation.trust.probe_texts import Probe, check
from harden.losses import Classify
from harden.models import Classifier
from harden.threats import Threat

PROBED = 128
"""Images that are looked at."""

PASSES = 92
"""What probing costs on an image that every attack leaves standing, rounded up; see `probed`, `rescaled`."""

LEAST = 3
"""What fewer images than these do is chance, where attacks are compared or pixels move."""

ALONE = 4
MOVE, NEARER = 2.0**-12, 1 / 16
JUMP = 0.01
UNDERFLOW = math.log(torch.finfo(torch.float32).tiny)
_SEED = 0x70726F6265


def probed(
    steering: GradientSource, threat: Threat, batch: Batch, seed: int, *, climbs: bool = True
) -> tuple[TrustCheck, ...]:
    """Probe the network and the attack on the first images of an evaluation's first batch.

    Cost, on an image that every attack leaves standing and with the network as its own judge: 1 pass for
    randomness and batch composition (4 images more, alone), 2/3 for random moves, 2 at eps 0, 41 1/3 at the
    huge eps, 32 for three eps: 77 in all, and 11 for `rescaled`; 16 for a line between two images, from
    each of the first 32, which is 4 an image of 128. Less where images break, as they all
    should at the huge eps; at most 33 more where the judge contradicts the fast copy at every step.

    Guarantee: the result depends on model, judge, images and seed alone; nothing is drawn from torch's global
    generator but by a network that does so itself. No failure of an attack is raised: such an attack breaks
    nothing, and that is reported.

    Args:
        steering: the network, its fast copy and the judge.
        threat: the threat model.
        batch: images (N, C, H, W) with labels that the judge knows; the first 128 are looked at, and of most
            probes those that the judge gets right.
        seed: of the random starts.
        climbs: whether attempts climb the network; see `ProbeInputs`.
    """
    count = min(len(batch), PROBED)
    x = batch.x[:count].float().clamp(*threat.bounds)
    first = Batch(x, batch.y[:count], batch.index[:count])
    network = _BatchAnswers(steering.model.logits, first)
    judge = network if steering.judge == steering.model.logits else _BatchAnswers(steering.judge, first)
    exact, near = rounding(steering.model)
    wavers = network.wavers(exact) | judge.wavers(exact)
    depends = network.depends(near) | judge.depends(near)
    rows = (predicted(judge.logits) == first.y).nonzero().flatten()
    right = Batch(first.x[rows], first.y[rows], first.index[rows])
    draws = Draws(mix(seed, _SEED), right.index)
    subject = ProbeInputs(steering, threat, right, judge.logits[rows], draws, climbs)
    return (
        check(Probe.RANDOMISED, int(wavers.sum()), count),
        check(Probe.COMPOSITION, int(depends.sum()), count),
        check(Probe.SATURATION, int(saturated(subject.scores, right.y).sum()), len(right)),
        check(Probe.UNSTABLE, _unless_few(_moved(subject)), len(right)),
        *_of_attacks(subject, near),
        *_of_logits(subject, first, network.logits, judge.logits),
    )


def _of_logits(subject: ProbeInputs, first: Batch, own: Tensor, judged: Tensor) -> tuple[TrustCheck, ...]:
    """The probes of what attacks follow: the gradient along lines between images, the logits' values."""
    steering, x = subject.steering, first.x
    scores, deciding = scores_of(own, steering.output), scores_of(judged, steering.output)
    few = len(x) if subject.threat.eps else 0
    seen = lines(as_logits(steering.model.logits, steering.output), x[:few], scores[:few])
    missed = int(seen.unexplained().sum()) if subject.climbs else 0
    none = "the first images are all of one class, or eps is 0"
    count, n = repeated(x, deciding)
    return (
        check(Probe.FIDELITY, missed, len(seen), none),
        check(Probe.STEPS, int(seen.stepped().sum()), len(seen), none),
        check(Probe.VALUES, count, n),
    )


def _of_attacks(subject: ProbeInputs, near: float) -> tuple[TrustCheck, ...]:
    """The probes that attack; without images, or an eps, there is nothing that they could show."""
    n, classes = len(subject), subject.logits.shape[1]
    zero = check(Probe.ZERO, broken_at_zero(subject, near) if n else 0, n)
    if n == 0 or subject.threat.eps == 0:
        return (zero, *(check(probe, 0, n) for probe in (Probe.HUGE, Probe.CURVE)))
    return (
        zero,
        check(Probe.HUGE, max(kept_at_huge_eps(subject) - n / classes, 0.0), n),
        check(Probe.CURVE, _unless_few(rise_with_eps(subject)), n),
    )


def rescaled(
    steering: GradientSource, threat: Threat, batch: Batch, right: Tensor, left: Tensor, seed: int
) -> TrustCheck:
    """Try the attacks' result for the scale of logits: a cross-entropy of another scale must add nothing.

    Attacks on the margin and on the ratio do not depend on the scale; one on the cross-entropy of a network
    whose logits are large climbs next to nothing. So what counts is what the attempts left standing.

    Args:
        steering: the network, its fast copy and the judge.
        threat: the threat model.
        batch: the first batch, whose first 128 images are looked at.
        right: which of its images the judge got right, bool (N,).
        left: which of its images no attempt broke, bool (N,).
        seed: of the random starts.
    """
    n = int(right[:PROBED].sum())
    rows = (right & left)[:PROBED].nonzero().flatten()
    if len(rows) == 0 or threat.eps == 0:
        return check(Probe.SCALE, 0, n)
    few = Batch(batch.x[rows], batch.y[rows], batch.index[rows])
    logits = answers(steering.judge, few.x, few.y)
    subject = ProbeInputs(steering, threat, few, logits, Draws(mix(seed, _SEED), few.index))
    return check(Probe.SCALE, _unless_few(broken_at_scale(subject)), n)


def _unless_few(count: int) -> int:
    return count if count >= LEAST else 0


@final
class _BatchAnswers:
    """A classifier and what it says of a batch."""

    def __init__(self, classify: Classify, batch: Batch) -> None:
        self._classify, self._batch = classify, batch
        self.logits = answers(classify, batch.x, batch.y)

    def wavers(self, exact: float) -> Tensor:
        """Whether each image's logits are others when asked again, by more than rounding: bool (N,)."""
        again = answers(self._classify, self._batch.x, self._batch.y)
        apart, largest = (again - self.logits).abs(), self.logits[self.logits.isfinite()].abs()
        within = apart <= exact * (float(largest.max()) if len(largest) else 0.0)
        same = (again == self.logits) | (again.isnan() & self.logits.isnan())
        return ~(within | same).all(1)

    def depends(self, near: float) -> Tensor:
        """Whether each image's answer is another in reversed halves, or alone for a few: bool (N,).

        Another class, unless two tie within rounding, `near` as a share of the largest logit; or a logit that
        moved by ten times that: statistics of the batch shift all logits long before they change a class.
        """
        x, y, count = self._batch.x, self._batch.y, min(ALONE, len(self._batch))
        halves = zip(x.flip(0).chunk(2), y.flip(0).chunk(2), strict=True)
        other = self._differ(torch.cat([self._part(*half) for half in halves]).flip(0), near)
        alone = [self._part(x[row : row + 1], y[row : row + 1]) for row in range(count)]
        other[:count] |= self._differ(torch.cat(alone), near)
        return other

    def _differ(self, other: Tensor, near: float) -> Tensor:
        whole = self.logits[: len(other)]
        moved = (other - whole).abs().amax(1) > 10 * near * whole.abs().amax(1)
        return moved | ((predicted(other) != predicted(whole)) & ~ties(whole, near))

    def _part(self, x: Tensor, y: Tensor) -> Tensor:
        try:
            return answers(self._classify, x, y)
        except torch.OutOfMemoryError:
            raise
        except (HardenError, RuntimeError, ValueError):
            # It answered the whole batch: that it does not answer a part of it is what is looked for.
            return self.logits.new_full((len(x), self.logits.shape[1]), torch.nan)


def rounding(model: Classifier) -> tuple[float, float]:
    """What shares of the largest logit are rounding: asked twice the same, and in another batch.

    Libraries choose another algorithm for another batch, on CUDA one that multiplies in TF32.
    """
    kinds = [weight.dtype for weight in model.parameters() if weight.is_floating_point()]
    exact = 64 * max((torch.finfo(kind).eps for kind in kinds), default=2.0**-23)
    return exact, max(exact, 1e-3)


def saturated(logits: Tensor, y: Tensor) -> Tensor:
    """Whether sum_{j != y} softmax(z)_j underflows in float32, for logits (N, K), labels (N,): bool (N,).

    That is log sum_{j != y} exp(z_j) - z_y < log 2^-126 = -87.3: then all that a float32 cross-entropy's
    gradient is made of is zero or subnormal.
    """
    logits = logits.double()
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, y.unsqueeze(1), -torch.inf).logsumexp(1)
    return others - own < UNDERFLOW


def _moved(subject: ProbeInputs) -> int:
    """How many images answer otherwise after a random move of every pixel by at most 2^-12.

    Of another class, or with logits that jump: a move by a sixteenth of that changes them by more than half
    as much, and by more than JUMP of their range. Of a function with a derivative it changes them by about a
    sixteenth, so the jump is noise that is drawn from the image (or steps), which no gradient follows.
    """
    if len(subject) == 0:
        return 0
    x, y = subject.batch.x, subject.batch.y
    noise = subject.draws.fold(1).uniform(tuple(x.shape[1:])).mul_(2 * MOVE).sub_(MOVE).to(x.device)
    near, nearer = (
        answers(subject.steering.judge, (x + share * noise).clamp_(*subject.threat.bounds), y)
        for share in (1, NEARER)
    )
    before = subject.logits
    far, small = ((after - before).abs().amax(1) for after in (near, nearer))
    jumps = (small > far / 2) & (small > JUMP * (before.amax(1) - before.amin(1)))
    return int(((predicted(near) != y) | jumps).sum())
