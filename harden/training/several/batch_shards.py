"""Division of a batch among processes, and the sum of their passes, losses and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, final

import torch
from torch import Tensor, nn

from harden.data import Batch
from harden.errors import DivergedError
from harden.evaluation.time_limit import OutOfTime
from harden.models import PassMeter, counting
from harden.system.ranks import Ranks
from harden.system.shards import Shard, in_shard
from harden.training.several.batch_statistics import WholeBatchNorm

T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True, eq=False)
class BatchPart:
    """The images of a batch that this process computes.

    L = sum_r share_r L_r, and so for gradients, where L_r is the loss of process r on its images.

    Args:
        ranks: all processes.
        batch: this process's images.
        share: weight of its loss.
    """

    ranks: Ranks
    batch: Batch
    share: float

    def loss(self, value: float) -> float:
        """The loss of the whole batch, from that of this process's images."""
        return self.ranks.total(value * self.share) if self.ranks.several else value

    def backward(self, loss: Tensor, weights: Sequence[nn.Parameter]) -> None:
        """Compute the gradients of the whole batch's loss, from that of this process's images."""
        if not self.ranks.several:
            torch.autograd.backward(loss)
            return
        torch.autograd.backward(loss * self.share)
        summed = self.ranks.add_gradients([weight.grad for weight in weights], weights)
        for weight, gradient in zip(weights, summed, strict=True):
            weight.grad = gradient


def is_divided(n: int, ranks: Ranks) -> bool:
    """Whether a batch of n images is divided: two images for each process, as norms and contrast need them.

    A smaller one, the last of an epoch, is computed whole by every process.
    """
    return ranks.several and n >= 2 * ranks.size


@contextmanager
def divided(batch: Batch, ranks: Ranks) -> Iterator[BatchPart]:
    """Give this process's part of a batch; what is computed inside knows of the other parts."""
    if not is_divided(len(batch), ranks):
        yield BatchPart(ranks, batch, 1 / ranks.size)
        return
    start, stop = ranks.part(len(batch))
    shard = Shard(ranks, start, stop, batch.x)
    part = Batch(batch.x[start:stop], batch.y[start:stop], batch.index[start:stop])
    with in_shard(shard), WholeBatchNorm(shard):
        yield BatchPart(ranks, part, shard.share)


@contextmanager
def counting_all(meter: PassMeter, ranks: Ranks, *, divided: bool) -> Iterator[None]:
    """Count the passes inside the context into a meter: their sum over processes that divide the work.

    Args:
        meter: the same in all processes, before and after.
        ranks: the processes.
        divided: whether each has a part of the work; else each does all of it, which counts once.
    """
    if not (ranks.several and divided):
        with counting(meter):
            yield
        return
    own = PassMeter()
    try:
        with counting(own):
            yield
    except (DivergedError, OutOfTime):  # raised in all processes; another exception ends this one alone
        meter.include(ranks.total(own.passes))
        raise
    meter.include(ranks.total(own.passes))


def computed_by_first(work: Callable[[], T], meter: PassMeter, ranks: Ranks) -> T:
    """The result of work that the first process does for all, whose passes count once.

    Args:
        work: counts into `meter`.
        meter: the same in all processes, before and after.
        ranks: the processes, which all call this.
    """
    before = meter.passes
    found, passes = ranks.on_main(lambda: (work(), meter.passes - before))
    if not ranks.is_main:
        meter.include(passes)
    return found
