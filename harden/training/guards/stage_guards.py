"""Guards of a stage: when they examine the weights, and what they do where training fails."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import final

from harden.data import Batch
from harden.draws import mix
from harden.errors import DivergedError
from harden.models import Classifier, PassMeter
from harden.models.snapshot import Snapshot, prefixed
from harden.objectives import Step
from harden.objectives.objective import stronger
from harden.training.guards.catastrophic_overfitting import AttackComparison, compare, largest_cost
from harden.training.guards.guard_options import Guards
from harden.training.guards.last_good_state import LastGoodState
from harden.training.several.batch_shards import computed_by_first
from harden.training.weights.weight_update import WeightUpdate


@final
@dataclass(slots=True)
class GuardCounts:
    """Counts of a stage's guards, which a snapshot keeps.

    Attributes:
        rollbacks: returns to earlier weights so far.
        halved: those after a loss or a gradient that was not finite; each halves the learning rate.
        examined: points of the stage at which the guards have examined the weights.
        passes: that checks took.
        last_check: passes of the last check.
        step: steps before the last good weights.
    """

    rollbacks: int = 0
    halved: int = 0
    examined: int = 0
    passes: float = 0.0
    last_check: float = 0.0
    step: int = 0


@final
class StageGuards:
    """The last good weights of a stage, and what brings training back to them.

    Args:
        options: how often.
        update: whose weights are guarded.
        model: that is trained.
        seed: of the checks' random starts.
    """

    def __init__(self, options: Guards, update: WeightUpdate, model: Classifier, seed: int) -> None:
        self.options, self.update, self.model, self.seed = options, update, model, seed
        self.counts = GuardCounts()
        self._good = LastGoodState(update.state) if options.rollbacks else None

    @property
    def rate(self) -> float:
        """Factor on the learning rate: a half for each return after a loss that was not finite."""
        return 0.5**self.counts.halved

    def snapshot(self) -> Snapshot:
        """Return the counts and the last good weights; not copies."""
        tensors = {} if self._good is None else prefixed("good", self._good.tensors)
        return Snapshot(tensors, {"guards": asdict(self.counts)})

    def restore(self, start: Snapshot) -> None:
        """Restore what `snapshot` returned; the update is restored before."""
        if "guards" not in start.facts:  # a stage that an earlier version began
            return
        self.counts = GuardCounts(**start.facts["guards"])
        if self._good is not None:
            self._good = LastGoodState(self.update.state)
            self._good.restore(start.part("good"))

    def after_divergence(self, error: DivergedError) -> str:
        """Return to the last good weights with half the learning rate, and say so.

        Raises:
            DivergedError: the returns that the options allow are used up; the given error, with their number.
        """
        counts = self.counts
        if self._good is None or counts.rollbacks >= self.options.rollbacks:
            if not counts.rollbacks:
                raise error
            seen = f"{error.seen}, after {counts.rollbacks} returns to earlier weights"
            raise DivergedError(seen, error.expected, error.instead) from error
        self._return(self._good)
        counts.halved += 1
        return (
            f"divergence: {error.seen}; back to the weights after step {counts.step}, "
            f"with {self.rate:g} times the learning rate"
        )

    def due(self, progress: float) -> bool:
        """Whether the guards examine the weights at this share of the budget; at most once a point."""
        point = int(progress * self.options.checks)
        if point <= self.counts.examined or progress >= 1.0:
            return False
        self.counts.examined = point
        return True

    def examine(self, batch: Batch, step: Step, meter: PassMeter) -> str:
        """Keep the present weights, unless they overfit to the attack of training: return, and say so.

        Args:
            batch: images of the step that was made, on the model's device.
            step: as the objective had it.
            meter: counts the passes of the stage, and those of the check.
        """
        if self._good is None:
            return ""
        found = self._compared(batch, step, meter)
        if found is None or not found.collapsed:
            self._good.keep(self.update.state)
            self.counts.step = step.number + 1
            return ""
        if self.counts.rollbacks >= self.options.rollbacks:
            return ""
        self._return(self._good)
        self.update.strengthen()
        self._good = LastGoodState(self.update.state)
        return (
            f"catastrophic overfitting: of {found.n} images {found.trained} are classified correctly under "
            f"the attack of training, {found.stronger} of them under PGD-10 too; back to the weights after "
            f"step {self.counts.step}, with more steps in the attack"
        )

    def _compared(self, batch: Batch, step: Step, meter: PassMeter) -> AttackComparison | None:
        """The attack of training and a stronger one; None where it has enough steps, or checks no passes."""
        counts, before = self.counts, meter.passes
        unneeded = stronger(self.update.objective) is None or step.share == 0
        cost = counts.last_check or largest_cost(self.update.objective, len(batch))
        if unneeded or self.options.share * before < counts.passes + cost:
            return None
        seed = mix(self.seed, step.number)
        found = computed_by_first(
            lambda: compare(self.update.objective, self.model, batch, step.threat, seed),
            meter,
            self.update.ranks,
        )
        counts.last_check = meter.passes - before
        counts.passes += counts.last_check
        return found

    def _return(self, good: LastGoodState) -> None:
        good.put(self.update.state)
        self.update.start_anew()
        self.counts.rollbacks += 1
