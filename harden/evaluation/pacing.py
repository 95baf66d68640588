"""Attacks within a limit of time: batches as large as fit into it, ended in the middle if need be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from harden.data import Batch, Source
from harden.evaluation.batches import OutOfTime
from harden.losses import Classify

SHARE: Final = 4
"""A batch takes about this part of the time that is left."""


@final
class Paced:
    """Images in order, in batches as large as fit into the time that is left, judged by those before.

    `harden.evaluation.evaluate` goes on with the next batch as long as one is given, and drops a batch whose
    attack is interrupted. So a model whose forward passes and whose judge are `watched` ends in time, and
    what was finished by then is the result.

    Args:
        source: of the images.
        seconds: how long all attacks may take.
        most: how long they may take where not even the first batch is finished.
        image: seconds that the attack of one image may take, as a guess: what the first batch goes by.
        kept: batches that a journal holds, which are given whatever the time; None where there is none. With
            a journal all batches have the source's own size: it needs the same ones each time.
    """

    def __init__(
        self, source: Source, seconds: float, most: float, image: float, kept: int | None = None
    ) -> None:
        self._source, self._kept, self._image = source, kept, image
        now = time.monotonic()
        self._until, self._last = now + seconds, now + most
        self._given = 0

    @property
    def batch_size(self) -> int:
        """The largest size of a batch."""
        return self._source.batch_size

    def __len__(self) -> int:
        return len(self._source)

    def hold_out(self, fraction: float, seed: int) -> tuple[Source, Source]:
        """The source's own parts."""
        return self._source.hold_out(fraction, seed)

    def describe(self) -> str:
        """The source's own words."""
        return self._source.describe()

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Batches until time is up."""
        began = time.monotonic()
        fit = (self._until - began) / (SHARE * max(self._image, 1e-9))
        size = max(1, min(int(fit), self.batch_size))
        for batch in self._source.epoch(generator):
            begin = 0
            while begin < len(batch):
                if self.is_over():
                    return
                here = size if self._kept is None else len(batch)
                yield Batch(*(each[begin : begin + here] for each in (batch.x, batch.y, batch.index)))
                self._given, begin = self._given + 1, begin + here
                now = time.monotonic()
                fit = size * (self._until - now) / (SHARE * max(now - began, 1e-9))
                size, began = max(1, min(2 * size, int(fit), self.batch_size)), now

    def is_over(self) -> bool:
        """Whether time is up: for the first batch that is no sooner than all of it is."""
        if self._kept is not None and self._given < self._kept:
            return False
        return time.monotonic() >= (self._until if self._given else self._last)

    def watched(self, judge: Classify) -> Classify:
        """The judge, that ends an attack once time is up."""
        return _Watched(judge, self._check)

    def watching(self, network: nn.Module) -> Watching:
        """While it is open, forward passes of a network end an attack once time is up."""
        return Watching(network, self._check)

    def _check(self) -> None:
        if self.is_over():
            raise OutOfTime


@final
@dataclass(frozen=True, slots=True)
class _Watched:
    judge: Classify
    check: Callable[[], None]

    def __call__(self, x: Tensor) -> Tensor:
        self.check()
        return self.judge(x)


@final
class Watching:
    """A hook on a network's forward pass, taken off again in the end."""

    def __init__(self, network: nn.Module, check: Callable[[], None]) -> None:
        self._network, self._check = network, check

    def __enter__(self) -> None:
        self._hook = self._network.register_forward_pre_hook(lambda module, inputs: self._check())

    def __exit__(self, *error: object) -> None:
        self._hook.remove()
