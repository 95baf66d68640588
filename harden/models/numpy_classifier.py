"""Classifiers outside torch, whose gradients nobody knows, as attacks call them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses import Classify
from harden.losses.numpy_bridge import NumpyFunction, call_with_array
from harden.models.pass_count import count


def from_numpy(function: NumpyFunction) -> Classify:
    """Make a classifier, images (N, C, H, W) to logits (N, K), of a function that knows no torch.

    For attacks without gradients: `Square(...)(Margin(from_numpy(function), y), x, threat, draws)`. The
    function may be an onnxruntime session of ours (`harden.artefact.runtime.session.Session`,
    `harden.load(folder)`), or call any other runtime. It gets the images as a contiguous float32 array of its
    own, in [0, 1], and returns floats (N, K), K >= 2, as an array, a tensor or lists. Logits come back in
    float32, on the device of the images, without gradient. Each call counts as a forward
    (`harden.models.counting`).

    Raises:
        InputError: when called, where the function gives anything else.
    """

    def classify(x: Tensor) -> Tensor:
        count(len(x))
        found = call_with_array(function, x)
        if found.ndim != 2 or len(found) != len(x) or found.shape[1] < 2:
            raise InputError(
                f"scores of shape {found.shape} for {len(x)} images",
                f"({len(x)}, K), one score for each of K >= 2 classes",
                "return np.stack((0 * z, z), 1) for one score z of two classes; for classes use "
                "harden.losses.Labels",
            )
        if not np.issubdtype(found.dtype, np.floating):
            raise InputError(
                f"scores of type {found.dtype}", "floats", "write .astype(np.float32), after dequantising"
            )
        return torch.from_numpy(found.astype(np.float32)).to(x.device)

    return classify
