"""Execution of one stage: its steps, its validations, and all state that the next step depends on."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from itertools import islice
from typing import final

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from harden.data import Batch, Source
from harden.draws import mix
from harden.errors import DivergedError, InputError
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.suite_cost import given_passes
from harden.evaluation.time_limit import OutOfTime
from harden.models import Classifier, PassMeter, counting, plain
from harden.models.snapshot import Snapshot, prefixed, put_tensors, tensors_of
from harden.objectives import Objective, Step, UpdatesWithStep
from harden.objectives.objective import replayed, views_of_step
from harden.system.single_process import check_alone
from harden.threats import Threat
from harden.training.budget import BudgetUse
from harden.training.checkpointing.optimiser_state import optimiser_state, put_optimiser_state
from harden.training.compute.mixed_precision import computes_in_bfloat16
from harden.training.compute.weight_layout import channels_last
from harden.training.deadline import no_step, until
from harden.training.global_rng import seeded
from harden.training.preflight import no_batch
from harden.training.stage import Stage, StageOptions, StepRecord, started, weighted_share
from harden.training.stage_position import StagePosition
from harden.training.weight_averaging import WeightAverage, load_weights, weights_like, weights_of


@final
class _Minimised(nn.Module):
    """The objective as a module's forward, so that accelerate can wrap it for several processes."""

    def __init__(self, objective: Objective, state: nn.Module) -> None:
        super().__init__()
        self.objective = objective
        self.state = state

    def forward(self, batch: Batch, step: Step) -> Tensor:
        return self.objective(self.state, batch, step)


@final
class StageRun:
    """The state of one call of `train`."""

    @plain()
    def __init__(
        self, stage: Stage, model: Classifier, source: Source, threat: Threat, options: StageOptions
    ) -> None:
        check_alone()  # one of several processes would block below and react to no signal
        self.stage, self.model, self.source, self.threat = stage, model, source, threat
        self.validation, self.seed = options.validation, options.seed
        self.images = stage.images or len(source)
        self.meter, self.started = PassMeter(), time.perf_counter()
        self.flags = [(weight, weight.requires_grad) for weight in model.parameters()]
        self.modes = [(part, part.training) for part in model.modules()]
        whole = model.network.training
        self.held = [part for part in model.network.modules() if whole and not part.training]
        # The model is on the device of the training; accelerate's process-wide state may name another one.
        self.accelerator = Accelerator(device_placement=False)
        if self.accelerator.mixed_precision != "no" or self.accelerator.num_processes > 1:
            raise InputError(
                f"accelerate set to {self.accelerator.mixed_precision} precision, "
                f"{self.accelerator.num_processes} processes",
                "float32 in one process",
                "unset ACCELERATE_MIXED_PRECISION and start without `accelerate launch`",
            )
        with seeded(mix(self.seed, 0), model.device):
            state = started(stage.objective, model, source)
        self.state = state
        # Kept from before prepare(): accelerate's own unwrapping may change the module it returns.
        minimised = _Minimised(stage.objective, state)
        self.minimised, self.optimiser = self.accelerator.prepare(minimised, stage.optimiser.build(state))
        self.average = WeightAverage(model, stage.average) if stage.average else None
        self.best: tuple[bool, float, float] | None = None
        self.best_weights: dict[str, Tensor] | None = None
        self.at = StagePosition()
        self._validating = self._stepping = 0.0
        self.bfloat16 = False
        if options.start is not None:
            self._restore(options.start)

    def snapshot(self) -> Snapshot:
        """Return everything that the next step depends on."""
        moments, other = optimiser_state(self.optimiser)
        tensors = prefixed("state", tensors_of(self.state)) | prefixed("optimiser", moments)
        if self.average is not None:
            tensors |= prefixed("average", self.average.weights)
        if self.best_weights is not None:
            tensors |= prefixed("best", self.best_weights)
        facts = {
            "at": asdict(self.at),
            "passes": self.meter.passes,
            "seconds": self._seconds(),
            "optimiser": other,
            "averaged": self.average.steps if self.average is not None else 0,
            "best": self.best,
        }
        return Snapshot(tensors, facts)

    def _restore(self, start: Snapshot) -> None:
        facts = start.facts
        put_tensors(self.state, start.part("state"))
        put_optimiser_state(self.optimiser, start.part("optimiser"), facts["optimiser"])
        if self.average is not None:
            self.average.weights = weights_like(self.average.weights, start.part("average"))
            self.average.steps = facts["averaged"]
        if facts["best"] is not None:
            reliable, robust, clean = facts["best"]
            self.best = (reliable, robust, clean)
            self.best_weights = weights_like(weights_of(self.model), start.part("best"))
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
                        stack.enter_context(channels_last(self.model, batch.x, self.optimiser))
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
            with nullcontext() if resumed else until(self.stage.budget, self._seconds):
                return self._advance(batch)
        except OutOfTime:
            self.at.progress = 1.0
            if last is None:
                raise no_step(self.stage, len(batch)) from None
            ended = replace(last, progress=1.0, clean=None, robust=None, best=False)
            return replace(ended, passes=self.meter.passes / self.images, seconds=self._seconds())

    @plain()
    def _advance(self, batch: Batch) -> StepRecord:
        """Make one step of the optimiser, and the validation that is due after it."""
        at, began = self.at, self._seconds()
        at.examples += len(batch)
        record = self._step(batch, at.step, at.progress)
        self._stepping = self._seconds() - began
        at.step += 1
        at.progress = self._progress(at.examples)
        due = int(at.progress * self.stage.validations)
        if self.validation is not None and (due > at.validated or at.progress >= 1.0):
            at.validated = due
            if at.progress >= 1.0 or self._affordable(due):
                try:
                    record = self._validate(record)
                    at.progress = max(at.progress, self._progress(at.examples))
                except OutOfTime:  # the step is made, and the weights were not measured
                    at.progress = 1.0
        return replace(
            record,
            progress=at.progress,
            passes=self.meter.passes / self.images,
            seconds=self._seconds(),
            examples=at.examples,
            validating=at.validating / self.images,
        )

    def _affordable(self, due: int) -> bool:
        """Whether this validation and those after it fit into the share of the passes that they may take.

        So earlier ones are left out first. The passes of the stage are projected from those so far; a
        validation costs what the last one did, or at most a forward and attempts that break no image.
        """
        at, stage = self.at, self.stage
        if stage.validation_share >= 1.0 or self.validation is None:
            return True
        attempts, images = self.validation.attempts, len(self.validation.source)
        cost = at.last_validation or images * (given_passes(attempts, sys.maxsize) + 1 / 3)
        left = stage.validation_share * self.meter.passes / at.progress - at.validating
        return left >= (stage.validations - due + 1) * cost

    def finish(self) -> None:
        """Load the selected weights into the model."""
        if self.best_weights is not None:
            load_weights(self.model, self.best_weights)
        elif self.average is not None:
            load_weights(self.model, self.average.weights)

    def _step(self, batch: Batch, number: int, progress: float) -> StepRecord:
        stage = self.stage
        share = min(1.0, progress / stage.ramp) if stage.ramp > 0 else 1.0
        threat = self.threat.scaled(share)
        generator = views_of_step(stage.objective, self.seed, number, batch.x.device)
        step = Step(number, progress, threat, mix(self.seed, 3), generator, share, self.bfloat16)
        rate = stage.optimiser.lr * stage.schedule(progress)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.state.train()
        for part in self.held:
            part.training = False
        with seeded(mix(self.seed, 4, number), batch.x.device), counting(self.meter):
            loss = self.minimised(batch, step)
            value = float(loss.detach())
            self._check_finite("a loss of", value, number, rate)
            self.optimiser.zero_grad()
            self.accelerator.backward(loss)
            length = self.accelerator.clip_grad_norm_(self.minimised.parameters(), stage.clip)
            try:
                # A finite loss can have a gradient that is not finite, and one step along it makes all
                # weights NaN.
                if length is not None:
                    self._check_finite("a gradient of length", float(length), number, rate)
                self.optimiser.step()
            finally:
                # No gradient of the loop is left on the model.
                self.optimiser.zero_grad()
            if isinstance(self.state, UpdatesWithStep):
                self.state.after_step(step)
        if self.average is not None:
            self.average.update(self.model, progress)
        return StepRecord(stage.name, number + 1, progress, 0.0, 0.0, value, rate, float(threat.eps))

    def _check_finite(self, what: str, value: float, number: int, rate: float) -> None:
        if not math.isfinite(value):
            raise DivergedError(
                f"{what} {value} at step {number + 1} of {self.stage.name}",
                "a finite number",
                f"lower the learning rate (it was {rate:.3g}) or train longer before eps is full",
            )

    def _validate(self, record: StepRecord) -> StepRecord:
        """Measure the present weights, or their average, and keep them if they are the best so far."""
        validation = self.validation
        if validation is None:
            return record
        average = nullcontext() if self.average is None else self.average.applied(self.model)
        began, passes = self._seconds(), self.meter.passes
        with average, counting(self.meter):
            found = evaluate_unchecked(
                self.model,
                validation.source,
                validation.threat,
                validation.attempts,
                seed=validation.seed,
            )
            # An unreliable robust accuracy ranks below every reliable one.
            robust, clean = found.robust.value, found.clean.value
            if weights := getattr(self.stage.objective, "class_weights", ()):
                robust = weighted_share(found.robust_correct, found.labels, weights)
                clean = weighted_share(found.clean_correct, found.labels, weights)
            score = (found.status == "ok", robust, clean)
            best = self.best is None or score >= self.best
            if best:
                self.best, self.best_weights = score, weights_of(self.model)
        self._validating = self._seconds() - began
        self.at.last_validation = self.meter.passes - passes
        self.at.validating += self.at.last_validation
        return replace(record, clean=score[2], robust=score[1], best=best)

    def _restore_flags(self) -> None:
        for weight, flag in self.flags:
            weight.requires_grad_(flag)
        for part, mode in self.modes:
            part.training = mode

    def _progress(self, examples: int) -> float:
        # Time is reserved for the last validation, which takes longer for better weights, and one step before
        # it.
        kept = 1.1 * self._validating + self._stepping if self._validating else 0.0
        spent = BudgetUse(self.meter.passes, examples, self._seconds() + kept)
        return self.stage.budget.progress(spent, self.images)

    def _seconds(self) -> float:
        return time.perf_counter() - self.started
