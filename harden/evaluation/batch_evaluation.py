"""One batch of an evaluation: every attempt on the examples still standing, re-projected and re-judged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from harden.attacks import GradientMeter, metering
from harden.attacks.engine.gradient_meter import unmetered
from harden.attacks.engine.success_steps import StepRecord, recording
from harden.data import Batch
from harden.description import JSON
from harden.draws import Draws, mix
from harden.errors import InputError
from harden.evaluation.attempt import Attempt
from harden.evaluation.gradient_source import Steering
from harden.evaluation.judge import answers, check_answer, classified, predicted
from harden.evaluation.results.partial_result import BatchOutcome, Effort, Found, Signs
from harden.evaluation.results.result import TrustCheck
from harden.evaluation.time_limit import OutOfTime
from harden.evaluation.transfer.surrogate import Scene
from harden.evaluation.trust.checks import has_gradient, zero_gradients
from harden.evaluation.trust.gradient_free_attempts import gradients_fail, misleads
from harden.evaluation.trust.probes import probed, rescaled
from harden.evaluation.trust.sanity_attacks import closing
from harden.models import Classifier, PassMeter, counting
from harden.models.input_layout import GradientFreeNetwork
from harden.pixels import check_pixels
from harden.threats import Threat

_log = logging.getLogger("harden")

Clock = Callable[[], bool]
"""Whether time is up."""


@final
@dataclass(slots=True)
class _Verdicts:
    """What is known of a batch so far."""

    by: Tensor
    at: Tensor
    found: list[Found] = field(default_factory=list)
    signs: Signs = field(default_factory=Signs)
    misled: bool = False


@final
class BatchSearch:
    """Everything that stays the same from batch to batch.

    Args:
        steering: the network, its copies and the judge.
        threat: the threat model.
        attempts: in the order in which they run.
        seed: of the random starts.
        is_over: asked between attempts; by default never.
        closed: whether the attempts of `harden.evaluation.trust.sanity_attacks` follow; a number that is
            only compared with others of its kind goes without.
    """

    def __init__(
        self,
        steering: Steering,
        threat: Threat,
        attempts: tuple[Attempt, ...],
        seed: int,
        is_over: Clock = lambda: False,
        closed: bool = True,
    ) -> None:
        self._steering, self._seed, self._is_over = steering, seed, is_over
        self.threat, self.closed = threat, closed
        self._given = tuple(attempt for attempt in attempts if attempt.knows(threat))
        for attempt in attempts:
            if attempt not in self._given:
                _log.warning("%s is left out: it knows no way in %r", attempt.name, threat)
        # What closes the attempts is known once a batch was seen.
        self._closing: tuple[Attempt, ...] | None = None if closed else ()
        self._probes: tuple[TrustCheck, ...] | None = None
        # What was wrapped to be asked for scores alone is not held against having no gradient.
        self._climbs = not isinstance(steering.model.network, GradientFreeNetwork)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._steering.model.device

    @property
    def given(self) -> tuple[Attempt, ...]:
        """The attempts without the closing ones."""
        return self._given

    def one_pass(self, batch: Batch) -> tuple[float, int]:
        """Seconds of a pass on a batch, and how many classes there are; the second of two is timed.

        Three questions to the judge are one pass for attempts that ask it alone.
        """
        batch, network = self._clean(batch), self._steering.model.logits
        blind = not self._climbs or any(attempt.black_box for attempt in self._given)
        seconds, classes = 0.0, 0
        for _ in range(2):
            began = time.perf_counter()
            classes = self._answers(batch).shape[1]
            middle = time.perf_counter()
            able = self._climbs and has_gradient(network, batch.x, batch.y)
            climbed, asked = time.perf_counter() - middle, 3 * (middle - began)
            seconds = max(climbed if able else 0.0, asked if blind or not able else 0.0)
        return seconds, classes

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts as they were made, the closing ones included."""
        return tuple(self._steering.as_run(attempt) for attempt in self._all())

    def identity(self) -> dict[str, JSON]:
        """What a result depends on, beside model and data, as JSON."""
        given: list[JSON] = [{"name": attempt.name, **attempt.describe()} for attempt in self._given]
        return {"threat": repr(self.threat), "attempts": given, "seed": self._seed}

    def go_on(self, batch: Batch, outcome: BatchOutcome) -> None:
        """Meet the first batch of an evaluation that goes on.

        Raises:
            InputError: the judge answers otherwise than before.
        """
        _, predictions = self._met(self._clean(batch))
        if not torch.equal(predictions.cpu(), outcome.predictions):
            raise InputError(
                "a judge that answers the first batch otherwise than before",
                "the same model, and the same file where a file decides",
                "begin anew in another folder",
            )

    def run(self, batch: Batch, first: Batch | None = None) -> BatchOutcome:
        """Evaluate one batch.

        Args:
            batch: images (N, C, H, W), labels, and positions in the data.
            first: the images that are probed, where the batch is the first; by default its own.

        Raises:
            OutOfTime: before its last attempt.
        """
        began = time.perf_counter()
        check_pixels(batch.x)
        batch = self._clean(batch)
        with counting(PassMeter()) as meter, metering(GradientMeter()) as gradients:
            predictions, verdicts = self._look(batch)
            probes = self._probed(batch, batch if first is None else self._clean(first))
            verdicts.misled = misleads(probes)
            efforts = tuple(
                self._try(number, attempt, batch, predictions, verdicts)
                for number, attempt in enumerate(self._all())
            )
            if probes and self._climbs:
                left = (verdicts.by < 0) | (verdicts.by >= len(self._given))  # by the attempts themselves
                right = predictions == batch.y
                with unmetered():
                    probes += (rescaled(self._steering, self.threat, batch, right, left, self._seed),)
        verdicts.signs.gradients, verdicts.signs.not_finite = gradients.total, gradients.not_finite
        return BatchOutcome(
            labels=batch.y.cpu(),
            predictions=predictions.cpu(),
            broken_by=verdicts.by.cpu(),
            broken_at=verdicts.at.cpu(),
            found=tuple(verdicts.found),
            efforts=efforts,
            signs=verdicts.signs,
            passes=meter.passes,
            seconds=time.perf_counter() - began,
            checks=probes,
        )

    def _probed(self, batch: Batch, first: Batch) -> tuple[TrustCheck, ...]:
        """What probes say of the first images; their gradients are not those of the attempts."""
        if not self.closed or len(batch) == 0 or int(batch.index[0]) > 0:
            return ()
        if self._probes is None:  # else a first batch that was given up has been through it
            with unmetered():
                self._probes = probed(self._steering, self.threat, first, self._seed, climbs=self._climbs)
        return self._probes

    def _look(self, batch: Batch) -> tuple[Tensor, _Verdicts]:
        """The judge's classes of the clean images, and a clean slate."""
        right, predictions = self._met(batch)
        verdicts = _Verdicts(
            torch.full_like(batch.y, -1),
            torch.zeros_like(batch.y),
        )
        if self._climbs:
            model = self._steering.model.logits
            verdicts.signs.zero_gradients = zero_gradients(model, batch.x[right], batch.y[right])
        return predictions, verdicts

    def _met(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Which examples the judge gets right, and its classes; on the way, what kind of network this is."""
        logits = self._answers(batch)
        self._steering.meet(logits)
        predictions = predicted(logits)
        right = predictions == batch.y
        if self._closing is None:
            able = has_gradient(self._steering.model.logits, batch.x[:1], batch.y[:1])
            self._closing = closing(self._given, differentiable=able)
        return right, predictions

    def _all(self) -> tuple[Attempt, ...]:
        return (*self._given, *(self._closing or ()))

    def _clean(self, batch: Batch) -> Batch:
        return Batch(batch.x.float().clamp(*self.threat.bounds), batch.y, batch.index)

    def _try(
        self, number: int, attempt: Attempt, batch: Batch, predictions: Tensor, verdicts: _Verdicts
    ) -> Effort:
        """Make one attempt on what stands, and note what it breaks."""
        if self._is_over():
            raise OutOfTime
        index = self._meets(attempt, batch, predictions, verdicts)
        began = time.perf_counter()
        with counting(PassMeter()) as meter:
            made = self._with_source(number, attempt, batch) if len(index) else attempt
            index = index[:0] if made is None else index
            record = StepRecord(len(index), batch.x.device)
            with recording(record):
                x_adv, prediction, outside = self._attempt(number, made or attempt, batch, index)
        hit = prediction != batch.y[index]
        rows = index[hit]
        verdicts.by[rows], verdicts.at[rows] = number, record.first[hit]
        verdicts.signs.outside += outside
        parts = (batch.index[rows], batch.y[rows], prediction[hit], batch.x[rows], x_adv[hit])
        verdicts.found.append(Found(*(part.cpu() for part in parts)))
        return Effort(len(index), len(rows), meter.passes, time.perf_counter() - began)

    def _meets(self, attempt: Attempt, batch: Batch, predictions: Tensor, verdicts: _Verdicts) -> Tensor:
        """Positions in the batch of the images that an attempt meets, int64 (M,)."""
        right = predictions == batch.y
        meets = right & (verdicts.by < 0)
        if attempt.only_first is not None:
            meets &= batch.index < attempt.only_first
        if attempt.if_gradients_fail and not verdicts.misled:
            meets &= gradients_fail(self._all(), verdicts.by, right)
        return meets.nonzero().flatten()

    def _with_source(self, number: int, attempt: Attempt, batch: Batch) -> Attempt | None:
        """The attempt with the network that its surrogate makes, if it has one; None where there is none."""
        if attempt.source is None or isinstance(attempt.source, Classifier):
            return attempt
        draws = Draws(mix(self._seed, number), batch.index)
        steering = self._steering
        made = attempt.source.network(Scene(steering.model, steering.judge, batch, self.threat, draws))
        return None if made is None else replace(attempt, source=made)

    def _answers(self, batch: Batch) -> Tensor:
        try:
            return answers(self._steering.judge, batch.x, batch.y)
        except (RuntimeError, ValueError):
            # Two images tell a network that takes no such images from memory that ran out.
            check_answer(self._steering.judge, batch.x[:2], batch.y[:2])
            raise

    def _attempt(
        self, number: int, attempt: Attempt, batch: Batch, index: Tensor
    ) -> tuple[Tensor, Tensor, int]:
        """Attack the examples at index: what was found, what the judge calls it, how many left the ball."""
        standing = Batch(batch.x[index], batch.y[index], batch.index[index])
        if len(standing) == 0:
            return standing.x, standing.y, 0
        draws = Draws(mix(self._seed, number), standing.index)
        return attacked(attempt, self._steering, self.threat, standing, draws)


def attacked(
    attempt: Attempt, steering: Steering, threat: Threat, batch: Batch, draws: Draws
) -> tuple[Tensor, Tensor, int]:
    """Attack a batch that the judge gets right, and believe nothing of what comes back.

    Returns:
        images in float32, projected onto ball and box (N, C, H, W); what the judge calls them (N,), the label
        itself where an image did not move or could not be brought inside; how many could not.
    """
    fitted = steering.as_run(attempt)
    loss, x = steering.loss(fitted, batch)
    x_adv = fitted.attack(loss, x, threat, draws).detach().to(batch.x)
    x_adv = x_adv.clone(memory_format=torch.contiguous_format)
    threat.project_(x_adv, batch.x)
    inside = threat.contains(x_adv, batch.x)
    # An image that did not move has its clean verdict, whatever batch it stands in.
    moved = inside & (x_adv != batch.x).flatten(1).any(1)
    prediction = batch.y.clone()
    if bool(moved.any()):
        prediction[moved] = classified(steering.judge, x_adv[moved], batch.y[moved])
    return x_adv, prediction, int((~inside).sum())
