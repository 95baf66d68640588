"""A network whose gradient is not finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SteepNetwork(nn.Module):
    """The root's slope at 0 is infinite, at all pixels from the fourth on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        flat = x.flatten(1)
        both = torch.stack((flat[:, :3].sum(1), (flat[:, 3:] * 0).sqrt().sum(1)), 1)
        logits: Tensor = self.head(both)
        return logits
