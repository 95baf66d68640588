"""One update of the weights: the objective's loss, its gradient, the optimiser's step, the moving average."""

from __future__ import annotations

import math
from typing import final

from torch import nn

from harden.data import Batch, Source
from harden.draws import mix
from harden.errors import DivergedError, InputError
from harden.models import Classifier
from harden.models.snapshot import Snapshot, prefixed, put_tensors, tensors_of
from harden.objectives import Objective, Step, UpdatesWithStep
from harden.objectives.objective import stronger
from harden.system.ranks import ALONE, Ranks
from harden.training.checkpointing.optimiser_state import optimiser_state, put_optimiser_state
from harden.training.global_rng import seeded
from harden.training.several.batch_shards import divided
from harden.training.several.equal_states import check_equal_states
from harden.training.stage import Stage, started
from harden.training.weights.weight_averaging import WeightAverage, weights_like


@final
class WeightUpdate:
    """An objective's state, the optimiser and the weights' moving average: what an update changes.

    Where several processes train, each computes its part of every batch, and all make the same update. Their
    gradients are summed here and not by DistributedDataParallel, which sees no gradient that an objective
    takes itself, as AWP does.
    """

    def __init__(
        self, stage: Stage, model: Classifier, source: Source, seed: int, ranks: Ranks = ALONE
    ) -> None:
        self.stage, self.model, self.seed, self.ranks = stage, model, seed, ranks
        whole = model.network.training
        self._held = [part for part in model.network.modules() if whole and not part.training]
        self._source, self.strengthened, self._checked = source, 0, False
        self._begin(stage.objective)
        self.average = WeightAverage(model, stage.average) if stage.average else None

    def _begin(self, objective: Objective) -> None:
        """Make the objective's state and an optimiser over it."""
        with seeded(mix(self.seed, 0), self.model.device):
            state = started(objective, self.model, self._source)
        self.objective, self.state = objective, state
        self.optimiser = self.stage.optimiser.build(state)

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
            InputError: the loss does not depend on the weights; or after the first step they are others in
                another process.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.state.train()
        for part in self._held:
            part.training = False
        weights = [weight for weight in self.state.parameters() if weight.requires_grad]
        with seeded(self._dropout_seed(step), batch.x.device):
            with divided(batch, self.ranks) as own:
                loss = self.objective(self.state, own.batch, step)
            if not loss.requires_grad:
                raise _constant(float(loss), self.stage.name)
            value = own.loss(float(loss.detach()))
            self._check_finite("a loss of", value, step, rate)
            self.optimiser.zero_grad()
            own.backward(loss, weights)
            length = nn.utils.clip_grad_norm_(weights, self.stage.clip)
            try:
                # A finite loss can have a gradient that is not finite, and one step along it makes all
                # weights NaN.
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
        if not self._checked:
            check_equal_states(self.state, self.ranks)
            self._checked = True
        if self.average is not None:
            self.average.update(self.model, step.progress)
        return value

    def _dropout_seed(self, step: Step) -> int:
        # The processes have different images, which are to have different masks.
        of_rank = (self.ranks.rank,) if self.ranks.rank else ()
        return mix(self.seed, 4, step.number, *of_rank)

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
