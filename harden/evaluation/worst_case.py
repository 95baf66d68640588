"""Robust accuracy: every attempt on the examples still standing, re-projected and re-judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks import metering
from harden.data import Batch, Source, from_loader
from harden.draws import Draws, mix
from harden.errors import InputError
from harden.evaluation.attempts import Attempt, pgd_suite
from harden.evaluation.judging import check_answer, check_model, check_threat, classified
from harden.evaluation.outcome import Evaluation
from harden.evaluation.probes import probed
from harden.evaluation.progress import Standing
from harden.evaluation.steering import Steering
from harden.evaluation.tally import Effort, Tally
from harden.evaluation.trust import zero_gradients
from harden.losses import Classify
from harden.models import Classifier, PassMeter, counting, frozen, plain
from harden.pixels import check_pixels
from harden.threats import Threat

OnBatch = Callable[[Standing], None]


@plain()
def evaluate(
    model: Classifier,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt] | None = None,
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    on_batch: OnBatch | None = None,
) -> Evaluation:
    """Measure clean accuracy and the worst case over attempts, per example.

    An attack is not believed: its result is projected again, checked to lie in ball and box, and classified
    by the judge. Each attempt runs on the examples that no earlier one broke. Random starts depend on seed
    and position in the data alone. The model is left as it was, in every flag; gradients, float32 and no
    autocast hold inside, whatever the caller has switched on.

    Args:
        model: gives the gradients.
        data: Examples, a tuple (x, y) or a DataLoader; see `harden.data.from_loader`.
        threat: the threat model.
        attempts: PGD-50 on cross-entropy and on the margin, 3 restarts each, by default.
        judge: decides every prediction, images to logits; the model itself by default, and the exported
            file's session where the claim is about the file.
        seed: of the random starts.
        batch_size: images at a time, where data brings no batches of its own.
        on_batch: called after every batch with the `Standing` so far.

    Raises:
        InputError: the data are empty or not pixels in [0, 1]; labels exceed the classes; no attempts, no
            Classifier, no threat.
    """
    attempts = pgd_suite() if attempts is None else tuple(attempts)
    search = _search(model, judge, threat, attempts, seed)
    return _evaluated(search, from_loader(data, batch_size), on_batch, checked=True)


@plain()
def unchecked(
    model: Classifier,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt],
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    on_batch: OnBatch | None = None,
) -> Evaluation:
    """As `evaluate`, without the trust checks that cost passes: to choose by, not to report."""
    search = _search(model, judge, threat, tuple(attempts), seed)
    return _evaluated(search, from_loader(data, batch_size), on_batch, checked=False)


def _search(
    model: Classifier, judge: Classify | None, threat: Threat, attempts: tuple[Attempt, ...], seed: int
) -> Search:
    check_model(model)
    check_threat(threat)
    if not attempts:
        raise InputError("no attempts", "at least one attack", "write attempts=harden.evaluation.pgd_suite()")
    return Search(Steering(model, model.logits if judge is None else judge), threat, attempts, seed)


def _evaluated(search: Search, source: Source, on_batch: OnBatch | None, *, checked: bool) -> Evaluation:
    steering, tally = search.steering, Tally([Effort() for _ in search.attempts])
    started, meter, done = time.perf_counter(), PassMeter(), 0
    with frozen(steering.model), counting(meter):
        for batch in source.epoch(None):
            # An example's id is its position, whatever ids the loader gives: so it is the same in any loader.
            ids = torch.arange(done, done + len(batch))
            placed = Batch(batch.x, batch.y, ids).to(steering.model.device)
            # Probes attack at other eps: their gradients are no sign of how the attempts fared.
            with metering(tally.gradients):
                search.run(placed, tally)
            if checked and not done:
                tally.checks = probed(steering, search.threat, placed, search.seed)
            done += len(batch)
            if on_batch is not None:
                seconds = time.perf_counter() - started
                on_batch(Standing(done, len(source), tally.standing / done, meter.passes, seconds))
    if not done:
        raise InputError("no examples", "at least one batch", "check the loader's data set and drop_last")
    attempts = tuple(steering.as_run(attempt) for attempt in search.attempts)
    return tally.result(search.threat, attempts, meter.passes, time.perf_counter() - started)


@final
@dataclass(frozen=True, slots=True)
class Search:
    """Everything that stays the same from batch to batch."""

    steering: Steering
    threat: Threat
    attempts: tuple[Attempt, ...]
    seed: int

    def run(self, batch: Batch, tally: Tally) -> None:
        """Evaluate one batch."""
        check_pixels(batch.x)
        batch = Batch(batch.x.float().clamp(*self.threat.bounds), batch.y, batch.index)
        predictions = self._predicted(batch)
        right = predictions == batch.y
        tally.zero_gradients += zero_gradients(self.steering.model.logits, batch.x[right], batch.y[right])
        broken = torch.zeros_like(right)
        for number, effort in enumerate(tally.efforts):
            index = (right & ~broken).nonzero().flatten()
            began = time.perf_counter()
            with counting(PassMeter()) as meter:
                x_adv, prediction, outside = self._attempt(number, batch, index)
            hit = prediction != batch.y[index]
            tally.add_witnesses(batch, index[hit], prediction[hit], x_adv[hit])
            tally.outside += outside
            broken[index[hit]] = True
            effort.attempted += len(index)
            effort.broken += int(hit.sum())
            effort.passes += meter.passes
            effort.seconds += time.perf_counter() - began
        tally.add(batch, predictions, broken)

    def _predicted(self, batch: Batch) -> Tensor:
        try:
            return classified(self.steering.judge, batch.x, batch.y)
        except (RuntimeError, ValueError):
            # Two images tell a network that takes no such images from memory that ran out.
            check_answer(self.steering.judge, batch.x[:2], batch.y[:2])
            raise

    def _attempt(self, number: int, batch: Batch, index: Tensor) -> tuple[Tensor, Tensor, int]:
        """Attack the examples at index: what was found, what the judge calls it, how many left the ball."""
        standing = Batch(batch.x[index], batch.y[index], batch.index[index])
        if len(standing) == 0:
            return standing.x, standing.y, 0
        draws = Draws(mix(self.seed, number), standing.index)
        return attacked(self.attempts[number], self.steering, self.threat, standing, draws)


def attacked(
    attempt: Attempt, steering: Steering, threat: Threat, batch: Batch, draws: Draws
) -> tuple[Tensor, Tensor, int]:
    """Attack a batch that the judge gets right, and believe nothing of what comes back.

    Returns:
        images in float32, projected onto ball and box (N, C, H, W); what the judge calls them (N,), the label
        itself where an image did not move or could not be brought inside; how many could not.
    """
    loss, x = steering.loss(attempt, batch)
    x_adv = attempt.attack(loss, x, threat, draws).detach().to(batch.x)
    x_adv = x_adv.clone(memory_format=torch.contiguous_format)
    threat.project_(x_adv, batch.x)
    inside = threat.contains(x_adv, batch.x)
    # An image that did not move has its clean verdict, whatever batch it stands in.
    moved = inside & (x_adv != batch.x).flatten(1).any(1)
    prediction = batch.y.clone()
    if bool(moved.any()):
        prediction[moved] = classified(steering.judge, x_adv[moved], batch.y[moved])
    return x_adv, prediction, int((~inside).sum())
