"""Measurement of a stage's cost and memory by a few steps on a copy of the network."""

from __future__ import annotations

import gc
import logging
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, final

import torch

from harden.data import Source
from harden.errors import DivergedError, InputError
from harden.models import Classifier, float32_copy
from harden.models.out_of_memory import ran_out_of_memory
from harden.objectives.awp import past_warmup
from harden.threats import Threat
from harden.training.loop import train
from harden.training.stage import Stage
from harden.training.weights.weight_averaging import weights_of

_PROBE_STEPS = 2  # the optimiser's own memory comes with the first
_MEASURED_STEPS, _MEASURED_SECONDS = 6, 4.0
_log = logging.getLogger("harden")


class Resizable(Source, Protocol):
    """A source that offers batches of another size."""

    def resized(self, batch_size: int) -> Resizable:
        """Return the same examples in batches of another size."""
        ...


@final
@dataclass(frozen=True, slots=True)
class StageSpeed:
    """Speed and memory of a stage, measured by a few steps.

    Attributes:
        passes: passes per second.
        passes_per_image: passes for each training image that the optimiser receives once.
        memory: peak bytes of the process (on CPU) or the device (CUDA) so far.
    """

    passes: float
    passes_per_image: float
    memory: int


def measure_speed(stage: Stage, model: Classifier, source: Source, threat: Threat) -> StageSpeed:
    """Measure a stage by a few steps on a copy of the model; the model is not changed.

    The first step, which includes one-time work, counts only where there is no second one.
    """
    copy, began = float32_copy(model), time.perf_counter()
    images = stage.images or len(source)
    first = last = None
    steps = train(_past_warmup(stage), copy, source, threat)
    for record in islice(steps, _MEASURED_STEPS):
        first, last = first or record, record
        if time.perf_counter() - began > _MEASURED_SECONDS:
            break
    steps.close()
    if first is None or last is None:
        raise InputError("no batch to measure", "at least one batch of two images", "pass more images")
    whole = first is last
    passes = (last.passes - (0.0 if whole else first.passes)) * images
    examples = last.examples - (0 if whole else first.examples)
    seconds = last.seconds - (0.0 if whole else first.seconds)
    return StageSpeed(passes / max(seconds, 1e-9), passes / examples, peak_memory(model.device))


def largest_fitting(stages: Sequence[Stage], model: Classifier, source: Resizable, threat: Threat) -> int:
    """Find the largest batch that fits into memory: the source's own, or a half, a quarter, ... of it.

    Every stage makes two steps on a copy of the model, with as many copies of the weights as a run keeps.
    On CPU a system that overcommits memory kills the process instead of raising an error: no limit is found
    there.

    Raises:
        InputError: batches of two images do not fit.
    """
    size = source.batch_size
    while not all(_fits(stage, model, source.resized(size), threat) for stage in stages):
        _log.info("batches of %d do not fit into memory", size)
        size //= 2
        while size >= len(source):
            size //= 2
        if size < 2:
            raise InputError(
                "batches of two images, which do not fit into memory",
                "memory for two at a time",
                "write another --device, or take a smaller network or smaller images",
            )
    return size


def peak_memory(device: torch.device) -> int:
    """Return the peak bytes so far: of tensors on a CUDA device, or of this whole process on CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _past_warmup(stage: Stage) -> Stage:
    """The stage with steps that cost as much as the later ones, which take most of the passes and memory."""
    return replace(stage, objective=past_warmup(stage.objective))


def _fits(stage: Stage, model: Classifier, source: Source, threat: Threat) -> bool:
    try:
        _step(stage, model, source, threat)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    except DivergedError:
        return True  # it fits; the run itself reports the divergence
    else:
        return True
    finally:
        # The frames of the failed step keep its memory reachable until here.
        gc.collect()
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
    return False


def _step(stage: Stage, model: Classifier, source: Source, threat: Threat) -> None:
    copy = float32_copy(model)
    # A run keeps the best weights, and the present ones while it validates others.
    kept = [weights_of(copy), weights_of(copy)]
    steps = train(_past_warmup(stage), copy, source, threat)
    for _ in islice(steps, _PROBE_STEPS):
        pass
    steps.close()
    del kept
