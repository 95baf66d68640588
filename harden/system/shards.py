"""A process's part of a batch: rows, sums and means over the whole batch, with gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from harden.system.ranks import Ranks
from harden.system.scoped_values import ContextStack


@final
@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The part start..stop - 1 of a batch of n images that this process computes.

    Args:
        ranks: the processes that compute the other parts.
        start: position of the first image in the batch.
        stop: position behind the last one.
        images: the whole batch (n, C, H, W).
    """

    ranks: Ranks
    start: int
    stop: int
    images: Tensor

    @property
    def n(self) -> int:
        """Number of images of the whole batch."""
        return len(self.images)

    @property
    def share(self) -> float:
        """Share of the batch's images that are in this part."""
        return (self.stop - self.start) / self.n


_shards: Final = ContextStack[Shard]("shards")


@contextmanager
def in_shard(shard: Shard) -> Iterator[None]:
    """Let what runs inside the context know that its images are a part of a batch."""
    with _shards.pushed(shard):
        yield


def current_shard() -> Shard | None:
    """The part of a batch that is computed at present; None where images are a whole batch."""
    return next(reversed(tuple(_shards)), None)


def batch_rows(rows: Tensor) -> Tensor:
    """The rows of the whole batch, in its order, with gradient to those of this process.

    The gradients that other processes have of these rows are added in the backward, which all processes run.

    Args:
        rows: one for each image of this process, (m, ...).

    Returns:
        (n, ...); the argument itself where its images are the whole batch.
    """
    shard = current_shard()
    found: Tensor = rows if shard is None else _Rows.apply(rows, shard)
    return found


def batch_positions(rows: Tensor) -> Tensor:
    """The positions of rows (m, ...) in `batch_rows(rows)`, int64 (m,)."""
    shard = current_shard()
    first = 0 if shard is None else shard.start
    return torch.arange(first, first + len(rows), device=rows.device)


def batch_part(whole: Tensor) -> Tensor:
    """The rows of this process, (m, ...), of those of the whole batch, (n, ...)."""
    shard = current_shard()
    return whole if shard is None else whole[shard.start : shard.stop]


def is_first_part() -> bool:
    """Whether this process has the batch's first images: what all do alike is counted there."""
    shard = current_shard()
    return shard is None or shard.start == 0


def batch_total(value: Tensor) -> Tensor:
    """The sum of a tensor over the processes that compute the batch, with gradient."""
    shard = current_shard()
    found: Tensor = value if shard is None else _Total.apply(value, shard)
    return found


def batch_mean(x: Tensor, axes: Sequence[int] | None = None, *, keepdim: bool = False) -> Tensor:
    """The mean over axes, the images' among them, of the whole batch: of this process's part x (m, ...)."""
    own = x.mean() if axes is None else x.mean(tuple(axes), keepdim=keepdim)
    shard = current_shard()
    return own if shard is None else batch_total(own * shard.share)


def batch_share() -> float:
    """The share of the batch that this process computes: 1 for the whole one."""
    shard = current_shard()
    return 1.0 if shard is None else shard.share


def batch_gradients(gradients: Sequence[Tensor | None], weights: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The sums over the batch's processes of gradients of weights."""
    shard = current_shard()
    return gradients if shard is None else shard.ranks.add_gradients(gradients, weights)


@final
class _Rows(torch.autograd.Function):
    """Rows of all parts; the gradient of a row is the sum over the processes that use it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard
        whole = rows.new_zeros(shard.n, *rows.shape[1:])
        whole[shard.start : shard.stop] = rows
        return shard.ranks.add_(whole)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        shard: Shard = ctx.shard
        summed = shard.ranks.add_(above[0].clone(memory_format=torch.contiguous_format))
        return summed[shard.start : shard.stop], None


@final
class _Total(torch.autograd.Function):
    """A sum over processes, each of which uses it: so is its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard
        return shard.ranks.add_(value.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        shard: Shard = ctx.shard
        return shard.ranks.add_(above[0].clone(memory_format=torch.contiguous_format)), None
