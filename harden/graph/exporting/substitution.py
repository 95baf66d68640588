"""Substitution of torch's functions that its exporter cannot translate by functions that it can."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@final
class Substitution(TorchFunctionMode):
    """Inside the context functions of `SUBSTITUTES` compute the same from others; what they refuse is left.

    Only what is traced needs it: torch's own are faster.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The function's result, by its substitute where there is one."""
        named = dict(kwargs or {})
        own = SUBSTITUTES.get(function)
        if own is not None:
            rest = {name: each for name, each in named.items() if name != "input"}
            found = own(*([named["input"]] if "input" in named else []), *args, **rest)
            if found is not NotImplemented:
                return found
        return function(*args, **named)


def rrelu(
    x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Any:
    """In inference the leaky rectifier with the mean of the slopes."""
    if training:
        return NotImplemented
    return functional.leaky_relu(x, (lower + upper) / 2, inplace)


def adaptive_max_pool(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over the windows [floor(i n / m), ceil((i + 1) n / m)) of each axis behind the channels."""
    if return_indices:
        return NotImplemented
    rank = x.dim() - 2
    sizes = output_size if isinstance(output_size, list | tuple) else (output_size,) * rank
    for axis, size in enumerate(sizes, 2):
        length = x.shape[axis]
        count = length if size is None else size
        windows = [(at * length // count, -(-(at + 1) * length // count)) for at in range(count)]
        parts = [x.narrow(axis, a, b - a).amax(axis, keepdim=True) for a, b in windows]
        x = torch.cat(parts, axis)
    return x


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "") -> Any:
    """Distances |x_i - y_j|_p between the rows of (..., N, D) and (..., M, D)."""
    apart = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if p == 2:
        return (apart * apart).sum(-1).sqrt()
    apart = apart.abs()
    if math.isinf(p):
        return apart.amax(-1)
    return apart.sum(-1) if p == 1 else (apart**p).sum(-1) ** (1 / p) if p else NotImplemented


def average_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """An average with a divisor of its own: that over each window, times what it was divided by."""
    if divisor_override is None:
        return NotImplemented
    rank = x.dim() - 2
    pool = functional.avg_pool2d if rank == 2 else functional.avg_pool3d
    found = pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad=False)
    pixels = torch.ones(1, 1)
    for axis in range(rank):
        width, pad = _along(axis, kernel_size), _along(axis, padding)
        step, length = _along(axis, stride or kernel_size), x.shape[axis + 2]
        starts = [at * step - pad for at in range(found.shape[axis + 2])]
        within = [min(start + width, length) - max(start, 0) for start in starts]
        pixels = pixels.unsqueeze(-1) * torch.tensor(within, dtype=torch.float32)
    return found * (pixels / divisor_override).to(x.dtype)


def _along(axis: int, sizes: Any) -> int:
    return int(sizes[axis if len(sizes) > 1 else 0] if isinstance(sizes, list | tuple) else sizes)


def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median along an axis, of sorted values."""
    return NotImplemented if dim is None else _kth(x, (x.shape[dim] + 1) // 2, dim, keepdim, "median")


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest value along an axis, of sorted values."""
    return _kth(x, k, dim, keepdim, "kthvalue")


def _kth(x: Tensor, k: int, dim: int, keepdim: bool, name: str) -> Any:
    values, places = x.sort(dim)
    found = [each.narrow(dim, k - 1, 1) for each in (values, places)]
    kind: Any = getattr(torch.return_types, name)
    return kind(found if keepdim else [each.squeeze(dim) for each in found])


SUBSTITUTES: Final[Mapping[Any, Callable[..., Any]]] = MappingProxyType(
    {
        torch.rrelu: rrelu,
        functional.rrelu: rrelu,
        functional.adaptive_max_pool1d: adaptive_max_pool,
        functional.adaptive_max_pool2d: adaptive_max_pool,
        functional.adaptive_max_pool3d: adaptive_max_pool,
        torch.cdist: cdist,
        functional.avg_pool2d: average_pool,
        functional.avg_pool3d: average_pool,
        torch.median: median,
        Tensor.median: median,
        torch.kthvalue: kthvalue,
        Tensor.kthvalue: kthvalue,
    }
)
