"""Execution of one stage: its steps, its validations, and all state that the next step depends on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from itertools import islice
from typing import final

import torch

from harden.data import Batch, Source
from harden.draws import mix
from harden.errors import DivergedError
from harden.evaluation.time_limit import OutOfTime
from harden.models import Classifier, PassMeter, counting, plain
from harden.models.snapshot import Snapshot
from harden.objectives import Step
from harden.objectives.objective import replayed, views_of_step
from harden.system.ranks import check_divides, joined
from harden.threats import Threat
from harden.training.budget import BudgetUse
from harden.training.compute.mixed_precision import computes_in_bfloat16
from harden.training.compute.weight_layout import channels_last
from harden.training.deadline import no_step, until
from harden.training.guards.stage_guards import StageGuards
from harden.training.preflight import no_batch
from harden.training.several.batch_shards import counting_all, is_divided
from harden.training.stage import Stage, StageOptions, StepRecord
from harden.training.stage_position import StagePosition
from harden.training.weights.checkpoint_selection import CLEAN_LIMIT, CheckpointSelection
from harden.training.weights.weight_averaging import load_weights
from harden.training.weights.weight_update import WeightUpdate

_log = logging.getLogger("harden")


@final
class StageRun:
    """The state of one call of `train`."""

    @plain()
    def __init__(
        self, stage: Stage, model: Classifier, source: Source, threat: Threat, options: StageOptions
    ) -> None:
        self.ranks = joined()
        check_divides(source.batch_size, self.ranks)
        self.stage, self.model, self.source, self.threat = stage, model, source, threat
        self.seed, self.images = options.seed, stage.images or len(source)
        self.meter, self.started = PassMeter(), time.perf_counter()
        self.flags = [(weight, weight.requires_grad) for weight in model.parameters()]
        self.modes = [(part, part.training) for part in model.modules()]
        self.update = WeightUpdate(stage, model, source, options.seed, self.ranks)
        self.selection = None
        if options.validation is not None:
            self.selection = CheckpointSelection(stage, model, options.validation, self.ranks)
        self.guards = StageGuards(stage.guards, self.update, model, mix(options.seed, 5))
        self.at = StagePosition()
        self._validating = self._stepping = 0.0
        self.bfloat16 = False
        if options.start is not None:
            self._restore(options.start)
        elif self.selection is not None:
            with counting_all(self.meter, self.ranks, divided=self.selection.divided):
                self.selection.begin()
            self.at.validating = self.meter.passes

    def snapshot(self) -> Snapshot:
        """Return everything that the next step depends on."""
        update = self.update.snapshot()
        best = Snapshot(facts={"best": None}) if self.selection is None else self.selection.snapshot()
        guards = self.guards.snapshot()
        own = {"at": asdict(self.at), "passes": self.meter.passes, "seconds": self._own_seconds()}
        tensors = update.tensors | best.tensors | guards.tensors
        return Snapshot(tensors, own | update.facts | best.facts | guards.facts)

    def _restore(self, start: Snapshot) -> None:
        facts = start.facts
        self.update.restore(start)
        if self.selection is not None:
            self.selection.restore(start)
        self.guards.restore(start)
        self.at = StagePosition(**facts["at"])
        self.meter = PassMeter(facts["passes"])
        self.started -= facts["seconds"]

    def steps(self) -> Iterator[StepRecord]:
        """Iterate over steps until the budget is spent."""
        at, last = self.at, None
        with ExitStack() as stack:
            stack.callback(self._restore_flags)
            while at.progress < 1.0:
                order = torch.Generator().manual_seed(mix(self.seed, 1, at.epoch) >> 1)
                for batch in islice(replayed(self.stage.objective, self.source.epoch(order)), at.taken, None):
                    at.taken += 1
                    if len(batch) < 2:  # BatchNorm and contrastive losses need two images
                        continue
                    if last is None:
                        stack.enter_context(channels_last(self.model, batch.x, self.update.optimiser))
                        on_device = batch.x.to(self.model.device)
                        self.bfloat16 = self.stage.bfloat16 and computes_in_bfloat16(self.model, on_device)
                    last = self._in_time(batch.to(self.model.device), last)
                    yield last
                    if at.progress >= 1.0:
                        break
                if at.step == at.before and at.progress < 1.0:
                    raise no_batch(self.source)
                at.epoch, at.taken, at.before = at.epoch + 1, 0, at.step

    def _in_time(self, batch: Batch, last: StepRecord | None) -> StepRecord:
        """Make a step; where the time ends inside it, no weight changes, and the step before is the last."""
        try:
            # The first step of a resumed stage has no time limit, since no record before it could be the
            # last.
            resumed = last is None and self.at.step > 0
            # Several processes end between steps, since none may leave the others inside one.
            unlimited = resumed or self.ranks.several
            with nullcontext() if unlimited else until(self.stage.budget, self._own_seconds):
                return self._advance(batch)
        except OutOfTime:
            self.at.progress = 1.0
            if last is None:
                raise no_step(self.stage, len(batch)) from None
            ended = replace(last, progress=1.0, clean=None, robust=None, best=False, event=self._limited())
            return replace(ended, passes=self.meter.passes / self.images, seconds=self._seconds())

    @plain()
    def _advance(self, batch: Batch) -> StepRecord:
        """Make one step of the optimiser, and the validation that is due after it."""
        at, began = self.at, self._seconds()
        at.examples += len(batch)
        step = self._threatened(batch, at.step, at.progress)
        record = self._step(batch, step)
        self._stepping = self._seconds() - began
        at.step += 1
        at.progress = self._progress(at.examples)
        due = int(at.progress * self.stage.validations)
        if self.selection is not None and (due > at.validated or at.progress >= 1.0):
            at.validated = due
            if at.progress >= 1.0 or self._affordable(due, self.selection):
                try:
                    record = self._validate(record, self.selection)
                    at.progress = max(at.progress, self._progress(at.examples))
                except OutOfTime:  # the step is made, and the weights were not measured
                    at.progress = 1.0
        if self.guards.due(at.progress):
            record = self._examine(batch, step, record)
        return replace(
            record,
            progress=at.progress,
            passes=self.meter.passes / self.images,
            seconds=self._seconds(),
            examples=at.examples,
            validating=at.validating / self.images,
            event="; ".join(each for each in (record.event, self._limited()) if each),
        )

    def _limited(self) -> str:
        """The event of a stage that ends with the weights from before training, or with some between."""
        if self.at.progress < 1.0 or self.selection is None:
            return ""
        if self.selection.share is not None:
            return f"weights between the original ones and the last, {self.selection.share:.3g} of the way"
        return f"{CLEAN_LIMIT}: {self.selection.unmet}" if self.selection.unmet else ""

    def _affordable(self, due: int, selection: CheckpointSelection) -> bool:
        """Whether this validation and those after it fit into the share of the passes that they may take.

        So earlier ones are left out first. The passes of the stage are projected from those so far; a
        validation costs what the last one did, or at most a forward and attempts that break no image.
        """
        at, stage = self.at, self.stage
        if stage.validation_share >= 1.0:
            return True
        cost = at.last_validation or selection.largest_cost()
        left = stage.validation_share * self.meter.passes / at.progress - at.validating
        return left >= (stage.validations - due + 1) * cost

    def finish(self) -> None:
        """Load the selected weights into the model."""
        if self.selection is not None and self.selection.load():
            return
        if self.update.average is not None:
            load_weights(self.model, self.update.average.weights)

    def _threatened(self, batch: Batch, number: int, progress: float) -> Step:
        """The values for the objective at this step."""
        stage = self.stage
        share = min(1.0, progress / stage.ramp) if stage.ramp > 0 else 1.0
        threat = self.threat.scaled(share)
        generator = views_of_step(stage.objective, self.seed, number, batch.x.device)
        return Step(number, progress, threat, mix(self.seed, 3), generator, share, self.bfloat16)

    def _step(self, batch: Batch, step: Step) -> StepRecord:
        """Update the weights; where that fails, from the last good ones, at a lower learning rate."""
        stage, event = self.stage, ""
        peak, drawn = stage.optimiser.lr * stage.schedule(step.progress), step.generator.get_state()
        while True:
            rate = peak * self.guards.rate
            try:
                with counting_all(self.meter, self.ranks, divided=is_divided(len(batch), self.ranks)):
                    value = self.update.make(batch, step, rate)
                break
            except DivergedError as error:
                event = self.guards.after_divergence(error)
                step.generator.set_state(drawn)
                _log.warning(event)
        eps = float(step.threat.eps)
        return StepRecord(stage.name, step.number + 1, step.progress, 0.0, 0.0, value, rate, eps, event=event)

    def _examine(self, batch: Batch, step: Step, record: StepRecord) -> StepRecord:
        """Let the guards examine the present weights."""
        try:
            with counting(self.meter):
                event = self.guards.examine(batch, step, self.meter)
        except OutOfTime:  # the step is made, and the weights were not checked
            self.at.progress, event = 1.0, ""
        else:
            self.at.progress = max(self.at.progress, self._progress(self.at.examples))
        if event:
            _log.warning(event)
        return replace(record, event="; ".join(each for each in (record.event, event) if each))

    def _validate(self, record: StepRecord, selection: CheckpointSelection) -> StepRecord:
        """Measure the present weights, or their average, and keep them if they are the best so far."""
        began, passes, seconds = self._seconds(), self.meter.passes, self._own_seconds
        limit = until(self.stage.budget, seconds) if self.ranks.several else nullcontext()
        with limit, counting_all(self.meter, self.ranks, divided=selection.divided):
            (_, robust, clean), best = selection.measure(self.update.average)
            if self.at.progress >= 1.0:
                selection.interpolate(self.update.average, clean)
        self._validating = self._seconds() - began
        self.at.last_validation = self.meter.passes - passes
        self.at.validating += self.at.last_validation
        return replace(record, clean=clean, robust=robust, best=best)

    def _restore_flags(self) -> None:
        for weight, flag in self.flags:
            weight.requires_grad_(flag)
        for part, mode in self.modes:
            part.training = mode

    def _progress(self, examples: int) -> float:
        # Time is reserved for the last validation, which takes longer for better weights, and one step before
        # it.
        limited = self.selection is not None and self.selection.validation.limit is not None
        share = 2.3 if limited else 1.1  # of a validation; with a limit a second one, of weights between
        kept = share * self._validating + self._stepping if self._validating else 0.0
        spent = BudgetUse(self.meter.passes, examples, self._seconds() + kept)
        return self.stage.budget.progress(spent, self.images)

    def _seconds(self) -> float:
        """Seconds so far; where they decide, all processes call this, and have those of the first one."""
        decide = self.stage.budget.unit == "s"
        return self.ranks.of_main(self._own_seconds()) if decide else self._own_seconds()

    def _own_seconds(self) -> float:
        return time.perf_counter() - self.started
