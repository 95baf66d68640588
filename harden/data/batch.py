"""A batch of images, labels and positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch of examples of one set.

    Args:
        x: images in [0, 1], float32 (B, C, H, W); held contiguous, as networks that call `view` need them,
            and without a gradient that they carry.
        y: labels, int64 (B,).
        index: the examples' positions in their set, int64 (B,), each in 0..len(set) - 1.
    """

    x: Tensor
    y: Tensor
    index: Tensor

    def __post_init__(self) -> None:
        x = self.x.detach() if self.x.requires_grad else self.x
        object.__setattr__(self, "x", x.contiguous())

    def __len__(self) -> int:
        return self.x.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """Copy the three tensors to a device; those already there are not copied."""
        # From pinned memory a copy to CUDA may overlap with work; in the other direction it would be a race.
        ahead = torch.device(device).type == "cuda"
        return Batch(*(part.to(device, non_blocking=ahead) for part in (self.x, self.y, self.index)))
