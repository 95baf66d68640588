"""Batch normalisation with the statistics of a batch that several processes compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from harden.system.shards import Shard

_ARGUMENTS: Final = (
    "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps",
)  # fmt: skip
"""Of `torch.nn.functional.batch_norm`, in its order."""


@final
class WholeBatchNorm(TorchFunctionMode):
    """A context in which batch normalisation in training mode uses the whole batch.

    y = w (x - m) / sqrt(v + eps) + b with mean m and biased variance v over the images and places of all
    processes, where torch takes those of its own images. Running statistics become the same in all processes,
    and those of one process with the whole batch up to rounding. It intercepts
    `torch.nn.functional.batch_norm`, which torch's BatchNorm modules and those derived from them call: no
    module is replaced or changed. Modules compiled by torch.jit call past it.

    Args:
        shard: this process's part of the batch.
    """

    def __init__(self, shard: Shard) -> None:
        super().__init__()
        self._shard = shard

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute a function of torch: batch normalisation as above, any other as it is."""
        if func is not functional.batch_norm:
            return func(*args, **(kwargs or {}))
        given = dict(zip(_ARGUMENTS, args, strict=False)) | dict(kwargs or {})
        if not self._is_trained(given):
            return func(*args, **(kwargs or {}))
        found: Tensor
        found, mean, variance, count = _Normalised.apply(
            given["input"], given.get("weight"), given.get("bias"), given.get("eps", 1e-5), self._shard
        )
        running_mean, running_var = given.get("running_mean"), given.get("running_var")
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                momentum = given.get("momentum", 0.1)
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                unbiased = variance * (count / (count - 1).clamp(min=1))
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        return found

    @staticmethod
    def _is_trained(given: Mapping[str, Any]) -> bool:
        """Whether a norm is computed to train it, and not in an attack.

        A norm without running statistics uses those of its images in an attack too, where the processes make
        different numbers of steps; frozen weights are how an attack is recognised.
        """
        weight = given.get("weight")
        attacked = given.get("running_mean") is None and (weight is None or not weight.requires_grad)
        return bool(given.get("training", False)) and not attacked


@final
class _Normalised(torch.autograd.Function):
    """Normalisation by whole-batch statistics, with the gradient through them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, shard: Shard
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _whole_statistics(x, shard)
        found = torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.shard = eps, shard
        ctx.mark_non_differentiable(mean, variance, count)
        return found, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight, mean, variance, count = ctx.saved_tensors
        shard: Shard = ctx.shard
        gradient = above[0]
        # With fixed statistics; the sums over this process's images are the gradients of weight and bias.
        scale = torch.ones_like(mean) if weight is None else weight
        fixed, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = shard.ranks.add_(torch.cat((of_weight, of_bias)).float())
        whole_weight, whole_bias = (sums / count).chunk(2)
        deviation = (variance + ctx.eps).rsqrt()
        slope = -scale * deviation.square() * whole_weight
        level = -scale * deviation * whole_bias - slope * mean
        shape = [1, -1, *[1] * (x.dim() - 2)]
        through = torch.addcmul(level.view(shape), x.to(level.dtype), slope.view(shape))
        fixed.add_(through.to(fixed.dtype))
        if weight is None:
            return fixed, None, None, None, None
        return fixed, of_weight, of_bias, None, None


def _whole_statistics(x: Tensor, shard: Shard) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,) and biased variance (C,) of the whole batch, and the values (1,) that each is of.

    Each process has squares around its own mean, which keeps digits that those around 0 would lose.
    """
    axes = (0, *range(2, x.dim()))
    own = x.float()
    mean = own.mean(axes, keepdim=True)
    squares = (own - mean).square_().mean(axes)  # torch.var_mean takes ten times as long
    count = mean.new_full((1,), x.numel() / x.shape[1])
    table = mean.new_zeros(shard.ranks.size, 2 * len(squares) + 1)
    table[shard.ranks.rank] = torch.cat((mean.flatten(), squares, count))
    means, variances, counts = torch.split(shard.ranks.add_(table), [len(squares), len(squares), 1], dim=1)
    n = counts.sum(0)
    shares = counts / n
    whole = (shares * means).sum(0)
    return whole, (shares * (variances + (means - whole).square())).sum(0), n
