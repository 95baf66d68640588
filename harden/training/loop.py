"""Training loop: an iterator over the steps of one stage, the same for every objective."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import final

from harden.data import Source
from harden.errors import InputError
from harden.models import Classifier
from harden.models.snapshot import Snapshot
from harden.threats import Threat
from harden.training.stage import Stage, StageOptions, StepRecord, Validation
from harden.training.stage_run import StageRun


@final
class Training:
    """An iterator over the steps of one stage; between two of them a snapshot can be saved and resumed from.

    See `train`.
    """

    def __init__(
        self, stage: Stage, model: Classifier, source: Source, threat: Threat, options: StageOptions
    ) -> None:
        # Not an attribute of the generator: a loop that is abandoned ends at once, not at the next collection
        # of cycles, and restores the model's flags.
        self._runs: list[StageRun] = []
        self._steps = _steps(self._runs, stage, model, source, threat, options)

    def __iter__(self) -> Iterator[StepRecord]:
        return self

    def __next__(self) -> StepRecord:
        return next(self._steps)

    def snapshot(self) -> Snapshot:
        """Return the state from which another process continues to exactly the same weights.

        Its tensors are the run's own, not copies: save them before the next step.

        Raises:
            InputError: no step was made yet, or the optimiser's state can't be saved.
        """
        if not self._runs:
            raise InputError("a snapshot before the first step", "a step", "take a step first")
        return self._runs[0].snapshot()

    def close(self) -> None:
        """Stop, keep the present weights, and restore the model's flags."""
        self._steps.close()


def train(
    stage: Stage,
    model: Classifier,
    source: Source,
    threat: Threat,
    *,
    validation: Validation | None = None,
    seed: int = 0,
    start: Snapshot | None = None,
) -> Training:
    """Train `model` in place, yielding every step; stop iterating at any time to keep the present weights.

    With a validation the model ends with the weights of the best robust accuracy on held-out images (clean
    accuracy decides ties, then the later one); without, with the last ones. In both cases the weights are
    the moving average's where the stage keeps one. On CPU the same seed gives the same weights bit for bit,
    whatever the state of torch's global generator, unless the budget is in seconds; so does a stage that is
    resumed from a snapshot. Submodules in inference mode inside a network in training mode, such as a frozen
    BatchNorm, stay in it.

    Args:
        stage: objective, budget and optimiser.
        model: trained in place.
        source: the images; the E and epochs of the budget are counted in `stage.images`, or their number.
        threat: at its full eps.
        validation: held-out images that choose the weights.
        seed: seed of all randomness.
        start: `snapshot()` of an earlier process; all other arguments must be the same. Batches that the
            epoch has used already are read again and skipped.

    Raises:
        InputError: the source has no batch of two images or more.
        DivergedError: the loss or its gradient is NaN or infinite.
    """
    return Training(stage, model, source, threat, StageOptions(validation, seed, start))


def _steps(
    runs: list[StageRun],
    stage: Stage,
    model: Classifier,
    source: Source,
    threat: Threat,
    options: StageOptions,
) -> Generator[StepRecord]:
    # The run is set up at the first step, inside the generator, so a loop that never starts changes nothing.
    flags = [(weight, weight.requires_grad) for weight in model.parameters()]
    try:
        run = StageRun(stage, model, source, threat, options)
    except BaseException:
        for weight, flag in flags:
            weight.requires_grad_(flag)
        raise
    runs.append(run)
    yield from run.steps()
    run.finish()
