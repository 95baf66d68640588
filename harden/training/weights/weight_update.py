"""One update of the weights: the objective's loss, its gradient, the optimiser's step, the moving average."""

from __future__ import annotations

import math
from typing import final

from accelerate import Accelerator
from torch import Tensor, nn

from harden.data import Batch, Source
from harden.draws import mix
from harden.errors import DivergedError, InputError
from harden.models import Classifier
from harden.models.snapshot import Snapshot, prefixed, put_tensors, tensors_of
from harden.objectives import Objective, Step, UpdatesWithStep
from harden.objectives.objective import stronger
from harden.training.checkpointing.optimiser_state import optimiser_state, put_optimiser_state
from harden.training.global_rng import seeded
from harden.training.stage import Stage, started
from harden.training.weights.weight_averaging import WeightAverage, weights_like


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
class WeightUpdate:
    """An objective's state, the optimiser and the weights' moving average: what an update changes."""

    def __init__(self, stage: Stage, model: Classifier, source: Source, seed: int) -> None:
        self.stage, self.model, self.seed = stage, model, seed
        whole = model.network.training
        self._held = [part for part in model.network.modules() if whole and not part.training]
        # The model is on the device of the training; accelerate's process-wide state may name another one.
        self._accelerator = Accelerator(device_placement=False)
        if self._accelerator.mixed_precision != "no" or self._accelerator.num_processes > 1:
            raise InputError(
                f"accelerate set to {self._accelerator.mixed_precision} precision, "
                f"{self._accelerator.num_processes} processes",
                "float32 in one process",
                "unset ACCELERATE_MIXED_PRECISION and start without `accelerate launch`",
            )
        self._source, self.strengthened = source, 0
        self._begin(stage.objective)
        self.average = WeightAverage(model, stage.average) if stage.average else None

    def _begin(self, objective: Objective) -> None:
        """Make the objective's state and an optimiser over it."""
        with seeded(mix(self.seed, 0), self.model.device):
            state = started(objective, self.model, self._source)
        self.objective, self.state = objective, state
        # Kept from before prepare(): accelerate's own unwrapping may change the module it returns.
        minimised, optimiser = _Minimised(objective, state), self.stage.optimiser.build(state)
        self._minimised, self.optimiser = self._accelerator.prepare(minimised, optimiser)

    def start_anew(self) -> None:
        """Forget the optimiser's moments and the average, since the weights are others now."""
        self.optimiser.state.clear()
        if self.average is not None:
            self.average = WeightAverage(self.model, self.stage.average)

    def strengthen(self) -> bool:
        """Replace the objective by its version with more attack steps; whether there is one.

        Its state and the optimiser are new, the network's weights the present ones.
        """
        following = stronger(self.objective)
        if following is None:
            return False
        self._begin(following)
        self.strengthened += 1
        return True

    def snapshot(self) -> Snapshot:
        """Return the state, the optimiser's moments and the average; the run's own tensors, not copies."""
        moments, other = optimiser_state(self.optimiser)
        tensors = prefixed("state", tensors_of(self.state)) | prefixed("optimiser", moments)
        if self.average is not None:
            tensors |= prefixed("average", self.average.weights)
        averaged = self.average.steps if self.average is not None else 0
        facts = {"optimiser": other, "averaged": averaged, "strengthened": self.strengthened}
        return Snapshot(tensors, facts)

    def restore(self, start: Snapshot) -> None:
        """Restore what `snapshot` returned."""
        for _ in range(start.facts.get("strengthened", 0)):
            self.strengthen()
        put_tensors(self.state, start.part("state"))
        put_optimiser_state(self.optimiser, start.part("optimiser"), start.facts["optimiser"])
        if self.average is not None:
            self.average.weights = weights_like(self.average.weights, start.part("average"))
            self.average.steps = start.facts["averaged"]

    def make(self, batch: Batch, step: Step, rate: float) -> float:
        """Make one step of the optimiser and return the objective's value before it.

        Args:
            batch: images (N, C, H, W), on the model's device.
            step: values for the objective.
            rate: the learning rate.

        Raises:
            DivergedError: the loss or its gradient is NaN or infinite; the weights are as before.
            InputError: the loss does not depend on the weights.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.state.train()
        for part in self._held:
            part.training = False
        with seeded(mix(self.seed, 4, step.number), batch.x.device):
            loss = self._minimised(batch, step)
            if not loss.requires_grad:
                raise _constant(float(loss), self.stage.name)
            value = float(loss.detach())
            self._check_finite("a loss of", value, step, rate)
            self.optimiser.zero_grad()
            self._accelerator.backward(loss)
            length = self._accelerator.clip_grad_norm_(self._minimised.parameters(), self.stage.clip)
            try:
                # A finite loss can have a gradient that is not finite, and one step along it makes all
                # weights NaN.
                if length is not None:
                    self._check_finite("a gradient of length", float(length), step, rate)
                    # A loss of 0, as of a network that is certain and right, has no gradient either.
                    if step.number == 0 and value != 0 and float(length) == 0:
                        raise _constant(value, self.stage.name)
                self.optimiser.step()
            finally:
                # No gradient of the loop is left on the model.
                self.optimiser.zero_grad()
            if isinstance(self.state, UpdatesWithStep):
                self.state.after_step(step)
        if self.average is not None:
            self.average.update(self.model, step.progress)
        return value

    def _check_finite(self, what: str, value: float, step: Step, rate: float) -> None:
        if not math.isfinite(value):
            raise DivergedError(
                f"{what} {value} at step {step.number + 1} of {self.stage.name}",
                "a finite number",
                f"lower the learning rate (it was {rate:.3g}) or train longer before eps is full",
            )


def _constant(value: float, stage: str) -> InputError:
    """Make the error for a loss without a gradient."""
    return InputError(
        f"a loss of {value:.4g} in {stage} whose gradient is 0 for every weight",
        "a loss that depends on weights that are trained",
        "search the network's forward for detach(), no_grad(), argmax or rounding, and unfreeze weights",
    )
