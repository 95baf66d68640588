"""A small ONNX file whose answers are known, and images for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from harden.data import Examples, Splits
from tests.bounds.networks import Builder

GREYS = torch.linspace(0.02, 0.98, 24)


def line_net(scale: float = 8.0) -> onnx.ModelProto:
    """Two classes, split at a pixel mean of 1/2: z = (0, scale (sum(x) - 2)) on images (1, 2, 2)."""
    net = Builder((1, 2, 2))
    net.add("Flatten")
    weight = np.zeros((4, 2), dtype=np.float32)
    weight[:, 1] = scale
    net.add("Gemm", weight, np.array([0, -2 * scale], dtype=np.float32))
    return net.model()


@pytest.fixture(scope="session")
def line_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`line_net` as a file."""
    path = tmp_path_factory.mktemp("line") / "model.onnx"
    onnx.save(line_net(), path)
    return path


@pytest.fixture(scope="session")
def greys() -> Splits:
    """24 images of one grey each, labels as `line_net` has them, but for the first, whose label is wrong."""
    x = GREYS.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    y = (GREYS > 0.5).long()
    y[0] = 1
    images = Examples(x, y, ("dark", "bright"), "greys")
    return Splits(images, images, "greys")
