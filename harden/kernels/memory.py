"""The memory that a compiled operation works on: in one layout, its own, and given back as asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels.arguments import dense_format, share_memory


def refuse_shared(name: str, target: Tensor, *others: Tensor) -> None:
    """Refuses to overwrite memory that is read as well.

    Raises:
        InputError: `target` overlaps one of the others.
    """
    if any(share_memory(target, other) for other in others):
        raise InputError(
            f"{name} shares memory with what is read",
            "memory of its own, since it is overwritten",
            "pass a clone",
        )


def in_one_layout(x_adv: Tensor, *others: Tensor) -> list[Tensor]:
    """All tensors in the dense layout that `x_adv` has or is copied to."""
    layout = dense_format(x_adv) or torch.contiguous_format
    return [tensor.contiguous(memory_format=layout) for tensor in (x_adv, *others)]


def written(tensor: Tensor, target: Tensor) -> None:
    """Brings what a compiled operation wrote into `target` back to the tensor that it stands for."""
    if target is not tensor:
        tensor.copy_(target)
    elif not tensor.is_inference():
        # The compiled library writes behind autograd's back: let it notice that a saved tensor changed.
        torch.autograd.graph.increment_version(tensor)
