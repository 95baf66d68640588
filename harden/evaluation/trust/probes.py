"""Trust checks that probe the network and the attacks on an evaluation's first images.

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
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.judge_outputs import judge_logits, predicted_classes
from harden.evaluation.probability_outputs import as_logits, scores_of
from harden.evaluation.results.result import TrustCheck
from harden.evaluation.trust.gradient_fidelity import margin_lines, repeated_logits
from harden.evaluation.trust.probe_attacks import (
    ProbeInputs,
    broken_at_scale,
    broken_at_zero,
    rise_with_eps,
    ties,
    unbroken_at_huge_eps,
)
from harden.evaluation.trust.probe_texts import Probe, check
from harden.losses import Classify
from harden.models import Classifier
from harden.threats import Threat

PROBED = 128
"""Number of images that are probed."""

PASSES = 92
"""Passes of probing on an unbroken image, rounded up; see `probe_checks` and `logit_scale_check`."""

LEAST = 3
"""Fewer images count as chance, where attacks are compared or pixels are changed."""

ALONE = 4
MOVE, NEARER = 2.0**-12, 1 / 16
JUMP = 0.01
UNDERFLOW = math.log(torch.finfo(torch.float32).tiny)
_SEED = 0x70726F6265


def probe_checks(
    gradient_source: GradientSource, threat: Threat, batch: Batch, seed: int, *, white_box: bool = True
) -> tuple[TrustCheck, ...]:
    """Probe the network and the attack on the first images of an evaluation's first batch.

    Cost, on an unbroken image and with the network as its own judge: 1 pass for
    randomness and batch composition (4 images more, alone), 2/3 for random moves, 2 at eps 0, 41 1/3 at the
    huge eps, 32 for three eps: 77 in all, and 11 for `logit_scale_check`; 16 for a line between two images,
    from each of the first 32, which is 4 per image of 128. Less where images are broken, as all should be at
    the huge eps; at most 33 more where the judge contradicts the fast copy at every step.

    Guarantee: the result depends on model, judge, images and seed alone; nothing is drawn from torch's global
    generator except by a network that does so itself. No failure of an attack is raised: such an attack
    breaks nothing, and that is reported.

    Args:
        gradient_source: the network, its fast copy and the judge.
        threat: the threat model.
        batch: images (N, C, H, W) with labels among the judge's classes; the first 128 are probed, by most
            probes only those that the judge classifies correctly.
        seed: of the random starts.
        white_box: whether the network gives gradients; see `ProbeInputs`.
    """
    count = min(len(batch), PROBED)
    x = batch.x[:count].float().clamp(*threat.bounds)
    first = Batch(x, batch.y[:count], batch.index[:count])
    network = _BatchAnswers(gradient_source.model.logits, first)
    judge = (
        network
        if gradient_source.judge == gradient_source.model.logits
        else _BatchAnswers(gradient_source.judge, first)
    )
    exact, near = rounding(gradient_source.model)
    random = network.is_random(exact) | judge.is_random(exact)
    depends = network.depends_on_batch(near) | judge.depends_on_batch(near)
    rows = (predicted_classes(judge.logits) == first.y).nonzero().flatten()
    right = Batch(first.x[rows], first.y[rows], first.index[rows])
    draws = Draws(mix(seed, _SEED), right.index)
    inputs = ProbeInputs(gradient_source, threat, right, judge.logits[rows], draws, white_box)
    return (
        check(Probe.RANDOMISED, int(random.sum()), count),
        check(Probe.COMPOSITION, int(depends.sum()), count),
        check(Probe.SATURATION, int(saturated(inputs.scores, right.y).sum()), len(right)),
        check(Probe.UNSTABLE, _unless_few(_unstable(inputs)), len(right)),
        *_of_attacks(inputs, near),
        *_of_logits(inputs, first, network.logits, judge.logits),
    )


def _of_logits(inputs: ProbeInputs, first: Batch, own: Tensor, judged: Tensor) -> tuple[TrustCheck, ...]:
    """The probes of the gradient along lines between images and of the logits' values."""
    gradient_source, x = inputs.gradient_source, first.x
    scores, deciding = scores_of(own, gradient_source.output), scores_of(judged, gradient_source.output)
    few = len(x) if inputs.threat.eps else 0
    seen = margin_lines(
        as_logits(gradient_source.model.logits, gradient_source.output), x[:few], scores[:few]
    )
    missed = int(seen.unexplained().sum()) if inputs.white_box else 0
    none = "the first images are all of one class, or eps is 0"
    count, n = repeated_logits(x, deciding)
    return (
        check(Probe.FIDELITY, missed, len(seen), none),
        check(Probe.STEPS, int(seen.stepped().sum()), len(seen), none),
        check(Probe.VALUES, count, n),
    )


def _of_attacks(inputs: ProbeInputs, near: float) -> tuple[TrustCheck, ...]:
    """The probes that attack; without images, or with eps 0, they pass."""
    n, classes = len(inputs), inputs.logits.shape[1]
    zero = check(Probe.ZERO, broken_at_zero(inputs, near) if n else 0, n)
    if n == 0 or inputs.threat.eps == 0:
        return (zero, *(check(probe, 0, n) for probe in (Probe.HUGE, Probe.CURVE)))
    return (
        zero,
        check(Probe.HUGE, max(unbroken_at_huge_eps(inputs) - n / classes, 0.0), n),
        check(Probe.CURVE, _unless_few(rise_with_eps(inputs)), n),
    )


def logit_scale_check(
    gradient_source: GradientSource, threat: Threat, batch: Batch, right: Tensor, left: Tensor, seed: int
) -> TrustCheck:
    """Test whether the cross-entropy of rescaled logits breaks images that no attempt broke.

    Attacks on the margin and on DLR do not depend on the scale of logits; for large logits the gradient of
    the cross-entropy vanishes. So the probe is made on the unbroken images.

    Args:
        gradient_source: the network, its fast copy and the judge.
        threat: the threat model.
        batch: the first batch, whose first 128 images are probed.
        right: whether the judge classifies each image correctly, bool (N,).
        left: whether each image is unbroken, bool (N,).
        seed: of the random starts.
    """
    n = int(right[:PROBED].sum())
    rows = (right & left)[:PROBED].nonzero().flatten()
    if len(rows) == 0 or threat.eps == 0:
        return check(Probe.SCALE, 0, n)
    few = Batch(batch.x[rows], batch.y[rows], batch.index[rows])
    logits = judge_logits(gradient_source.judge, few.x, few.y)
    inputs = ProbeInputs(gradient_source, threat, few, logits, Draws(mix(seed, _SEED), few.index))
    return check(Probe.SCALE, _unless_few(broken_at_scale(inputs)), n)


def _unless_few(count: int) -> int:
    return count if count >= LEAST else 0


@final
class _BatchAnswers:
    """A classifier with its logits of a batch."""

    def __init__(self, classify: Classify, batch: Batch) -> None:
        self._classify, self._batch = classify, batch
        self.logits = judge_logits(classify, batch.x, batch.y)

    def is_random(self, exact: float) -> Tensor:
        """Return whether each image's logits differ in a second forward by more than rounding: bool (N,)."""
        again = judge_logits(self._classify, self._batch.x, self._batch.y)
        apart, largest = (again - self.logits).abs(), self.logits[self.logits.isfinite()].abs()
        within = apart <= exact * (float(largest.max()) if len(largest) else 0.0)
        same = (again == self.logits) | (again.isnan() & self.logits.isnan())
        return ~(within | same).all(1)

    def depends_on_batch(self, near: float) -> Tensor:
        """Return whether each image's output differs in reversed halves, or alone for a few: bool (N,).

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
        return moved | ((predicted_classes(other) != predicted_classes(whole)) & ~ties(whole, near))

    def _part(self, x: Tensor, y: Tensor) -> Tensor:
        try:
            return judge_logits(self._classify, x, y)
        except torch.OutOfMemoryError:
            raise
        except (HardenError, RuntimeError, ValueError):
            # It accepts the whole batch: failing on a part of it is a dependence on the batch.
            return self.logits.new_full((len(x), self.logits.shape[1]), torch.nan)


def rounding(model: Classifier) -> tuple[float, float]:
    """Rounding errors as shares of the largest logit: in a second forward, and in another batch.

    Libraries choose another algorithm for another batch, on CUDA one that multiplies in TF32.
    """
    kinds = [weight.dtype for weight in model.parameters() if weight.is_floating_point()]
    exact = 64 * max((torch.finfo(kind).eps for kind in kinds), default=2.0**-23)
    return exact, max(exact, 1e-3)


def saturated(logits: Tensor, y: Tensor) -> Tensor:
    """Return whether sum_{j != y} softmax(z)_j underflows in float32: bool (N,) of logits (N, K).

    That is log sum_{j != y} exp(z_j) - z_y < log 2^-126 = -87.3: then all terms of the float32 gradient of
    the cross-entropy are zero or subnormal.
    """
    logits = logits.double()
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, y.unsqueeze(1), -torch.inf).logsumexp(1)
    return others - own < UNDERFLOW


def _unstable(inputs: ProbeInputs) -> int:
    """The number of images whose output is unstable under a random change of every pixel by at most 2^-12.

    That is another class, or logits that jump: a change of a sixteenth of the size changes them by more than
    half as much, and by more than JUMP of their range. For a differentiable function it is about a sixteenth,
    so a jump is noise computed from the image (or a step), which has no useful gradient.
    """
    if len(inputs) == 0:
        return 0
    x, y = inputs.batch.x, inputs.batch.y
    noise = inputs.draws.fold(1).uniform(tuple(x.shape[1:])).mul_(2 * MOVE).sub_(MOVE).to(x.device)
    near, nearer = (
        judge_logits(inputs.gradient_source.judge, (x + share * noise).clamp_(*inputs.threat.bounds), y)
        for share in (1, NEARER)
    )
    before = inputs.logits
    far, small = ((after - before).abs().amax(1) for after in (near, nearer))
    jumps = (small > far / 2) & (small > JUMP * (before.amax(1) - before.amin(1)))
    return int(((predicted_classes(near) != y) | jumps).sum())
