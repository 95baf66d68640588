"""A copy of the weights, to which training returns where it fails."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from harden.models.snapshot import tensors_of


@final
class LastGoodState:
    """Copies of the networks in an objective's state, with their buffers, by name.

    Buffers of the state itself are left out: priors of images or a queue of keys, which may be as large as
    the data.

    Args:
        state: of an objective.
    """

    def __init__(self, state: nn.Module) -> None:
        self.tensors = {name: value.clone() for name, value in _weights(state).items()}

    @torch.no_grad()
    def keep(self, state: nn.Module) -> None:
        """Replace the copies by the state's present tensors."""
        for name, value in _weights(state).items():
            self.tensors[name].copy_(value)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Replace the copies by tensors of an earlier process, by name."""
        for name, copy in self.tensors.items():
            copy.copy_(tensors[name])

    @torch.no_grad()
    def put(self, state: nn.Module) -> None:
        """Write the copies into the state."""
        for name, value in _weights(state).items():
            value.copy_(self.tensors[name])


def _weights(state: nn.Module) -> dict[str, Tensor]:
    own = {name for name, _ in state.named_buffers(recurse=False)}
    return {name: value for name, value in tensors_of(state).items() if name not in own}
