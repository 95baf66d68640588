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
        step: steps before the last finite weights.
        checked: steps before the last weights that did not overfit to the attack of training.
    """

    rollbacks: int = 0
    halved: int = 0
    examined: int = 0
    passes: float = 0.0
    last_check: float = 0.0
    step: int = 0
    checked: int = 0


@final
class StageGuards:
    """The last good weights of a stage, and what brings training back to them.

    After a loss that is not finite these are the last ones that were kept; after catastrophic overfitting
    the last ones that were compared under both attacks, which costs passes and is done less often.

    Args:
        options: how often.
        update: whose weights are guarded.
        model: that is trained.
        seed: of the checks' random starts.
    """

    def __init__(self, options: Guards, update: WeightUpdate, model: Classifier, seed: int) -> None:
        self.options, self.update, self.model, self.seed = options, update, model, seed
        self.counts = GuardCounts()
        self._finite: LastGoodState | None = None
        self._checked: LastGoodState | None = None
        self._copy()

    def _copy(self) -> None:
        """Copy the present weights, where the guards may return to them."""
        state, returns = self.update.state, self.options.rollbacks > 0
        checks = returns and stronger(self.update.objective) is not None
        self._finite = LastGoodState(state) if returns else None
        self._checked = LastGoodState(state) if checks else None

    @property
    def rate(self) -> float:
        """Factor on the learning rate: a half for each return after a loss that was not finite."""
        return 0.5**self.counts.halved

    def snapshot(self) -> Snapshot:
        """Return the counts and the last good weights; not copies."""
        copies = {"finite": self._finite, "checked": self._checked}
        tensors = {
            name: value
            for prefix, copy in copies.items()
            if copy is not None
            for name, value in prefixed(prefix, copy.tensors).items()
        }
        return Snapshot(tensors, {"guards": asdict(self.counts)})

    def restore(self, start: Snapshot) -> None:
        """Restore what `snapshot` returned; the update is restored before."""
        if "guards" not in start.facts:  # a stage that an earlier version began
            return
        self.counts = GuardCounts(**start.facts["guards"])
        self._copy()
        if self._finite is not None:
            self._finite.restore(start.part("finite"))
        if self._checked is not None:
            self._checked.restore(start.part("checked"))

    def after_divergence(self, error: DivergedError) -> str:
        """Return to the last good weights with half the learning rate, and say so.

        Raises:
            DivergedError: the returns that the options allow are used up; the given error, with their number.
        """
        counts = self.counts
        if self._finite is None or counts.rollbacks >= self.options.rollbacks:
            if not counts.rollbacks:
                raise error
            seen = f"{error.seen}, after {counts.rollbacks} returns to earlier weights"
            raise DivergedError(seen, error.expected, error.instead) from error
        self._return(self._finite)
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
        counts = self.counts
        if self._finite is None:
            return ""
        found = self._compared(batch, step, meter)
        if found is None or not found.collapsed:
            self._finite.keep(self.update.state)
            counts.step = step.number + 1
            if self._checked is not None and found is not None:
                self._checked.keep(self.update.state)
                counts.checked = counts.step
            return ""
        seen = (
            f"catastrophic overfitting: of {found.n} images {found.trained} are classified correctly under "
            f"the attack of training, {found.stronger} of them under PGD-10 too"
        )
        if self._checked is None or counts.rollbacks >= self.options.rollbacks:
            return f"{seen}; no return to earlier weights is left"
        self._return(self._checked)
        self.update.strengthen()
        counts.step = counts.checked
        self._copy()
        return f"{seen}; back to the weights after step {counts.step}, with more steps in the attack"

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
