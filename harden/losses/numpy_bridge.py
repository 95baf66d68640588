"""Calls of functions of NumPy arrays: images go out as a copied array, the result comes back as an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NumpyFunction = Callable[[NDArray[np.float32]], object]
"""Images (N, C, H, W), float32, contiguous, to an array, a tensor or nested lists."""


def call_with_array(function: NumpyFunction, x: Tensor) -> NDArray[Any]:
    """The result of a function on the images x (N, C, H, W), as an array.

    It gets a copy: a function that normalises its argument in place changes no image.
    """
    images = np.array(x.detach().to("cpu", torch.float32).numpy(), order="C", copy=True)
    found = function(images)
    return found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
