"""Check after a step that all processes have the same weights and buffers."""

from __future__ import annotations

from torch import Tensor, nn

from harden.errors import InputError
from harden.models.snapshot import tensors_of
from harden.system.ranks import Ranks

_ROUNDING = 1e-5
"""Share of a tensor's absolute sum that other processors explain."""


def check_equal_states(state: nn.Module, ranks: Ranks) -> None:
    """Refuse a network or an objective that leaves different tensors in the processes.

    Layers that compute over a batch past `torch.nn.functional.batch_norm`, and objectives that keep tensors
    of the images they saw, know the part of their process alone.

    Args:
        state: of the objective, with the network, after a step that all processes made.
        ranks: the processes, which all call this.

    Raises:
        InputError: a tensor differs; raised in all of them.
    """
    if not ranks.several:
        return
    first, *others = ranks.every({name: _sums(value) for name, value in tensors_of(state).items()})
    for rank, other in enumerate(others, 1):
        names = [name for name, sums in first.items() if _differ(sums, other[name])]
        if names:
            raise InputError(
                f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}, which after a step is "
                f"another tensor in process {rank} of {ranks.size} than in the first",
                "layers and objectives that see the whole batch, such as torch's BatchNorm",
                "train it in one process",
            )


def _sums(value: Tensor) -> tuple[float, float]:
    """The sum and the absolute sum."""
    whole = value.detach().double()
    return float(whole.sum()), float(whole.abs().sum())


def _differ(one: tuple[float, float], other: tuple[float, float]) -> bool:
    size = _ROUNDING * max(one[1], other[1])
    return any(abs(mine - theirs) > size for mine, theirs in zip(one, other, strict=True))
