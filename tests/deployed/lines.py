"""A small ONNX file whose answers are known, made without an exporter but as one names it, and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from harden.data import Examples
from harden.models import Classifier
from tests.bounds.networks import Builder

CLASSES = ("dark", "bright")


def line_net(scale: float = 1.0) -> onnx.ModelProto:
    """Two classes, split at a pixel mean of 1/2: z = (0, scale (sum(x) - 2)) on images (1, 2, 2)."""
    net = Builder((1, 2, 2))
    net.add("Flatten")
    weight = np.zeros((4, 2), dtype=np.float32)
    weight[:, 1] = scale
    net.add("Gemm", weight, np.array([0, -2 * scale], dtype=np.float32))
    net.nodes[-1].output[0] = net.last = "logits"
    return net.model()


def line_file(folder: Path, scale: float = 1.0, name: str = "model.onnx") -> Path:
    """`line_net` as a file of a folder."""
    onnx.save(line_net(scale), folder / name)
    return folder / name


def line_model(scale: float = 1.0) -> Classifier:
    """The same in torch."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, device="meta").to_empty(device="cpu"))
    weights = {
        "1.weight": torch.tensor([[0.0] * 4, [scale] * 4]),
        "1.bias": torch.tensor([0.0, -2.0 * scale]),
    }
    network.load_state_dict(weights)
    return Classifier(network.eval())


def greys(*values: float, wrong: tuple[int, ...] = ()) -> Examples:
    """Images of one grey each, labelled as the line has them but for those at `wrong`."""
    x = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    y = (torch.tensor(values) > 0.5).long()
    y[list(wrong)] = 1 - y[list(wrong)]
    return Examples(x, y, CLASSES, "greys")
