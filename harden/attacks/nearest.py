"""What a minimum-norm attack gives back: the nearest error that it found around each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest error found around each image: an upper bound on the distance to the boundary.

    Attributes:
        x_adv: images (N, C, H, W) on which the network errs; the image itself where none was found.
        distance: how far they lie from the images, in the threat's norm and pixel units, float64 (N,);
            infinite where none was found, 0 where the network errs on the image itself.
    """

    x_adv: Tensor
    distance: Tensor
