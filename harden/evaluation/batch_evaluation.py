"""Evaluation of one batch: every attempt on the unbroken examples, its results projected and judged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from harden.attacks import GradientMeter, metering
from harden.attacks.engine.nonfinite_gradients import unmetered
from harden.attacks.engine.success_steps import SuccessSteps, recording
from harden.check_pixels import check_pixels
from harden.data import Batch
from harden.description import JSON
from harden.draws import Draws, mix
from harden.errors import InputError
from harden.evaluation.attack_and_judge import attack_and_judge
from harden.evaluation.attempt import Attempt
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.judge_outputs import check_answer, judge_logits, predicted_classes
from harden.evaluation.results.batch_outcome import AttemptTotals, BatchOutcome, BatchWitnesses, TrustCounts
from harden.evaluation.results.result import TrustCheck
from harden.evaluation.time_limit import OutOfTime
from harden.evaluation.transfer.surrogate import SurrogateContext
from harden.evaluation.trust.closing_attempts import closing_attempts
from harden.evaluation.trust.gradient_checks import has_gradient, zero_gradients
from harden.evaluation.trust.gradient_free_attempts import gradients_fail, misleads
from harden.evaluation.trust.probes import logit_scale_check, probe_checks
from harden.models import Classifier, PassMeter, counting
from harden.models.input_layout import GradientFreeNetwork
from harden.threats import Threat

_log = logging.getLogger("harden")

Clock = Callable[[], bool]
"""Returns whether time is up."""


@final
@dataclass(slots=True)
class _BatchVerdicts:
    """Verdicts on the examples of a batch so far."""

    by: Tensor
    at: Tensor
    found: list[BatchWitnesses] = field(default_factory=list)
    signs: TrustCounts = field(default_factory=TrustCounts)
    misled: bool = False


@final
class BatchEvaluator:
    """Evaluates batch after batch with the same attempts.

    Args:
        gradient_source: the network, its copies and the judge.
        threat: the threat model.
        attempts: in the order in which they run.
        seed: of the random starts.
        is_over: called between attempts, returns whether time is up; by default it never is.
        closed: whether the attempts of `harden.evaluation.trust.closing_attempts` follow; a number that is
            only compared with others of its kind does not need them.

    Attributes:
        given: the attempts that support the threat, without the closing ones.
    """

    def __init__(
        self,
        gradient_source: GradientSource,
        threat: Threat,
        attempts: tuple[Attempt, ...],
        seed: int,
        is_over: Clock = lambda: False,
        closed: bool = True,
    ) -> None:
        self._gradient_source, self._seed, self._is_over = gradient_source, seed, is_over
        self.threat, self.closed = threat, closed
        self.given = tuple(attempt for attempt in attempts if attempt.knows(threat))
        for attempt in attempts:
            if attempt not in self.given:
                _log.warning("%s is left out: it does not support %r", attempt.name, threat)
        # The closing attempts depend on whether the network has a gradient: known after the first batch.
        self._closing: tuple[Attempt, ...] | None = None if closed else ()
        self._probes: tuple[TrustCheck, ...] | None = None
        # A network that was wrapped for queries alone need not have a gradient.
        self._white_box = not isinstance(gradient_source.model.network, GradientFreeNetwork)

    @property
    def device(self) -> torch.device:
        """Of the network."""
        return self._gradient_source.model.device

    def one_pass(self, batch: Batch) -> tuple[float, int]:
        """Seconds of a pass on a batch, and the number of classes; the second of two runs is timed.

        Three queries of the judge count as one pass for attempts that query it alone.
        """
        batch, network = self._clean(batch), self._gradient_source.model.logits
        blind = not self._white_box or any(attempt.black_box for attempt in self.given)
        seconds, classes = 0.0, 0
        for _ in range(2):
            began = time.perf_counter()
            classes = self._answers(batch).shape[1]
            middle = time.perf_counter()
            able = self._white_box and has_gradient(network, batch.x, batch.y)
            gradient, queries = time.perf_counter() - middle, 3 * (middle - began)
            seconds = max(gradient if able else 0.0, queries if blind or not able else 0.0)
        return seconds, classes

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts as they are executed, the closing ones included."""
        return tuple(self._gradient_source.as_run(attempt) for attempt in self._all())

    def identity(self) -> dict[str, JSON]:
        """The inputs of a result other than model and data, as JSON."""
        given: list[JSON] = [{"name": attempt.name, **attempt.describe()} for attempt in self.given]
        return {"threat": repr(self.threat), "attempts": given, "seed": self._seed}

    def resume(self, batch: Batch, outcome: BatchOutcome) -> None:
        """Check that the judge classifies the first batch as before, where an evaluation is resumed.

        Raises:
            InputError: it does not.
        """
        _, predictions = self._judged(self._clean(batch))
        if not torch.equal(predictions.cpu(), outcome.predictions):
            raise InputError(
                "a judge that classifies the first batch differently than before",
                "the same model, and the same file where a file decides",
                "begin anew in another folder",
            )

    def run(self, batch: Batch, first: Batch | None = None) -> BatchOutcome:
        """Evaluate one batch.

        Args:
            batch: images (N, C, H, W), labels, and positions in the data.
            first: the images that are probed, if the batch is the first; its own by default.

        Raises:
            OutOfTime: time was up before its last attempt.
        """
        began = time.perf_counter()
        check_pixels(batch.x)
        batch = self._clean(batch)
        with counting(PassMeter()) as meter, metering(GradientMeter()) as gradients:
            predictions, verdicts = self._clean_verdicts(batch)
            probes = self._probed(batch, batch if first is None else self._clean(first))
            verdicts.misled = misleads(probes)
            efforts = tuple(
                self._try(number, attempt, batch, predictions, verdicts)
                for number, attempt in enumerate(self._all())
            )
            if probes and self._white_box:
                left = (verdicts.by < 0) | (verdicts.by >= len(self.given))  # by the attempts themselves
                right = predictions == batch.y
                with unmetered():
                    probes += (
                        logit_scale_check(self._gradient_source, self.threat, batch, right, left, self._seed),
                    )
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
        """The probes of the first images; their gradients are not counted with those of the attempts."""
        if not self.closed or len(batch) == 0 or int(batch.index[0]) > 0:
            return ()
        if self._probes is None:  # else they were made on a first batch that was not finished
            with unmetered():
                self._probes = probe_checks(
                    self._gradient_source, self.threat, first, self._seed, white_box=self._white_box
                )
        return self._probes

    def _clean_verdicts(self, batch: Batch) -> tuple[Tensor, _BatchVerdicts]:
        """The judge's classes of the clean images, and verdicts without any attempt."""
        right, predictions = self._judged(batch)
        verdicts = _BatchVerdicts(
            torch.full_like(batch.y, -1),
            torch.zeros_like(batch.y),
        )
        if self._white_box:
            model = self._gradient_source.model.logits
            verdicts.signs.zero_gradients = zero_gradients(model, batch.x[right], batch.y[right])
        return predictions, verdicts

    def _judged(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Examples that the judge classifies correctly, bool (N,), and its classes, int64 (N,).

        The first call determines the kind of the outputs and the closing attempts.
        """
        logits = self._answers(batch)
        self._gradient_source.inspect(logits)
        predictions = predicted_classes(logits)
        right = predictions == batch.y
        if self._closing is None:
            able = has_gradient(self._gradient_source.model.logits, batch.x[:1], batch.y[:1])
            self._closing = closing_attempts(self.given, differentiable=able)
        return right, predictions

    def _all(self) -> tuple[Attempt, ...]:
        return (*self.given, *(self._closing or ()))

    def _clean(self, batch: Batch) -> Batch:
        return Batch(batch.x.float().clamp(*self.threat.bounds), batch.y, batch.index)

    def _try(
        self, number: int, attempt: Attempt, batch: Batch, predictions: Tensor, verdicts: _BatchVerdicts
    ) -> AttemptTotals:
        """Make one attempt on the unbroken examples, and record those that it breaks."""
        if self._is_over():
            raise OutOfTime
        index = self._rows(attempt, batch, predictions, verdicts)
        began = time.perf_counter()
        with counting(PassMeter()) as meter:
            made = self._with_source(number, attempt, batch) if len(index) else attempt
            index = index[:0] if made is None else index
            record = SuccessSteps(len(index), batch.x.device)
            with recording(record):
                x_adv, prediction, outside = self._attempt(number, made or attempt, batch, index)
        hit = prediction != batch.y[index]
        rows = index[hit]
        verdicts.by[rows], verdicts.at[rows] = number, record.first[hit]
        verdicts.signs.outside += outside
        parts = (batch.index[rows], batch.y[rows], prediction[hit], batch.x[rows], x_adv[hit])
        verdicts.found.append(BatchWitnesses(*(part.cpu() for part in parts)))
        return AttemptTotals(len(index), len(rows), meter.passes, time.perf_counter() - began)

    def _rows(self, attempt: Attempt, batch: Batch, predictions: Tensor, verdicts: _BatchVerdicts) -> Tensor:
        """Positions in the batch of the images that an attempt is made on, int64 (M,)."""
        right = predictions == batch.y
        chosen = right & (verdicts.by < 0)
        if attempt.only_first is not None:
            chosen &= batch.index < attempt.only_first
        if attempt.if_gradients_fail and not verdicts.misled:
            chosen &= gradients_fail(self._all(), verdicts.by, right)
        return chosen.nonzero().flatten()

    def _with_source(self, number: int, attempt: Attempt, batch: Batch) -> Attempt | None:
        """The attempt with the network that its surrogate makes; None where the surrogate makes none."""
        if attempt.source is None or isinstance(attempt.source, Classifier):
            return attempt
        draws = Draws(mix(self._seed, number), batch.index)
        gradient_source = self._gradient_source
        made = attempt.source.network(
            SurrogateContext(gradient_source.model, gradient_source.judge, batch, self.threat, draws)
        )
        return None if made is None else replace(attempt, source=made)

    def _answers(self, batch: Batch) -> Tensor:
        try:
            return judge_logits(self._gradient_source.judge, batch.x, batch.y)
        except (RuntimeError, ValueError):
            # Two images distinguish a network that takes no such images from memory that ran out.
            check_answer(self._gradient_source.judge, batch.x[:2], batch.y[:2])
            raise

    def _attempt(
        self, number: int, attempt: Attempt, batch: Batch, index: Tensor
    ) -> tuple[Tensor, Tensor, int]:
        """Attack the examples at index: results, their classes, and the number that left the ball."""
        unbroken = Batch(batch.x[index], batch.y[index], batch.index[index])
        if len(unbroken) == 0:
            return unbroken.x, unbroken.y, 0
        draws = Draws(mix(self._seed, number), unbroken.index)
        return attack_and_judge(attempt, self._gradient_source, self.threat, unbroken, draws)
