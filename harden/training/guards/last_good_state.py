"""A copy of the weights, to which training returns where it fails."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from harden.models.snapshot import put_tensors, tensors_of


@final
class LastGoodState:
    """Copies of a module's parameters and buffers."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors = {name: value.clone() for name, value in tensors_of(module).items()}

    @torch.no_grad()
    def keep(self, module: nn.Module) -> None:
        """Replace the copies by the module's present tensors."""
        for name, value in tensors_of(module).items():
            self.tensors[name].copy_(value)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Replace the copies by tensors of an earlier process, by name."""
        for name, copy in self.tensors.items():
            copy.copy_(tensors[name])

    def put(self, module: nn.Module) -> None:
        """Write the copies into the module."""
        put_tensors(module, self.tensors)
