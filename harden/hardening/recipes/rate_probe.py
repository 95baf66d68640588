"""Choice of the learning rate of fine-tuning by short trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, final

from harden.data import Source
from harden.draws import mix
from harden.errors import DivergedError, InputError
from harden.models import Classifier, float32_copy
from harden.training import Stage, StepRecord, Validation, train
from harden.training.guards.guard_options import Guards

PROBE_STAGE: Final = "learning rate"
"""Name of the trials in costs and history."""


@final
@dataclass(frozen=True, slots=True)
class RateProbe:
    """Short trials of fine-tuning with multiples of the optimiser's learning rate.

    Each trial trains a copy of the network for a share of the stage's budget, with the whole schedule and
    ramp within it, and is scored by robust accuracy on the held-out images. Fine-tuning has the rate of the
    best one, and the rest of the budget. What is best in a short trial need not be best in a long stage.

    Args:
        factors: multiples of the optimiser's rate.
        share: of the budget of fine-tuning, for each trial with its validation.

    Raises:
        InputError: there are fewer than two factors, one is not positive and finite, or the trials take half
            of the budget or more.
    """

    factors: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    share: float = 0.03

    def __post_init__(self) -> None:
        if len(self.factors) < 2 or not all(0 < factor < math.inf for factor in self.factors):
            seen = f"factors {self.factors}"
            raise InputError(seen, "two positive numbers or more", "write RateProbe((0.3, 1.0, 3.0))")
        if not 0 < self.share * len(self.factors) < 0.5:
            seen = f"{len(self.factors)} trials of {self.share} of the budget"
            raise InputError(seen, "less than half of the budget in all", "write RateProbe(share=0.03)")


@final
@dataclass(frozen=True, slots=True, eq=False)
class RateTrial:
    """One learning rate.

    Attributes:
        rate: the peak learning rate.
        last: the trial's last step; None where the loss was not finite before any step.
        robust: accuracy under the validation attack at its end; -1 where the loss was not finite.
    """

    rate: float
    last: StepRecord | None
    robust: float


def at_rate(stage: Stage, rate: float) -> Stage:
    """The stage with another peak learning rate.

    Raises:
        InputError: its optimiser is no dataclass with a field `lr`.
    """
    optimiser: Any = stage.optimiser
    if not is_dataclass(optimiser) or "lr" not in {field.name for field in fields(optimiser)}:
        raise InputError(
            f"an optimiser of type {type(optimiser).__name__} with a probe of learning rates",
            "a dataclass with a field lr",
            "use harden.training.SGD or AdamW, or leave rate_probe out",
        )
    changed: Any = replace(optimiser, lr=rate)  # type: ignore[type-var]  # an instance, not a class
    return replace(stage, optimiser=changed)


def try_rates(
    probe: RateProbe,
    stage: Stage,
    model: Classifier,
    images: tuple[Source, Validation],
    on_step: Callable[[StepRecord], None] | None = None,
) -> list[RateTrial]:
    """Make the trials of a stage on copies of the model, which stays as it is.

    Args:
        probe: the rates.
        stage: fine-tuning, with its budget.
        model: as fine-tuning begins with it.
        images: those that are trained on, and the held-out ones with the threat at its full eps; their limit
            on clean accuracy does not count here.
        on_step: called with each step's record.
    """
    source, validation = images
    found = []
    for number, factor in enumerate(probe.factors):
        rate = factor * stage.optimiser.lr
        trial = replace(
            at_rate(stage, rate),
            name=PROBE_STAGE,
            budget=stage.budget.part(probe.share),
            validations=1,
            validation_share=1.0,
            guards=Guards(rollbacks=0, checks=0),
        )
        seed = mix(validation.seed, 1, number) >> 1
        held_out = replace(validation, limit=None)
        last, robust = None, -1.0
        try:
            for record in train(
                trial, float32_copy(model), source, validation.threat, validation=held_out, seed=seed
            ):
                last = record
                robust = robust if record.robust is None else record.robust
                if on_step is not None:
                    on_step(record)
        except DivergedError:
            robust = -1.0
        found.append(RateTrial(rate, last, robust))
    return found


def ends(trials: list[RateTrial]) -> list[StepRecord]:
    """The last steps of the trials, each with its learning rate as its event."""
    return [
        replace(trial.last, event=f"learning rate {trial.rate:.3g}")
        for trial in trials
        if trial.last is not None
    ]


def best_rate(trials: list[RateTrial], usual: float) -> float:
    """The rate of the best trial; of equal ones that closest to the usual rate, in ratio.

    Raises:
        DivergedError: the loss was finite with none of them.
    """
    best = max(trials, key=lambda trial: (trial.robust, -abs(math.log(trial.rate / usual))))
    if best.robust < 0:
        raise DivergedError(
            f"a loss that is not finite with any learning rate from {min(t.rate for t in trials):.3g} on",
            "a finite loss with one of them",
            "give a smaller learning rate, or search the network for a logarithm or a division",
        )
    return best.rate
