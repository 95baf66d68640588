"""Small networks for the demo, the examples and `--model small`."""

from __future__ import annotations

from math import ceil

from torch import nn


def small_cnn(in_channels: int = 1, num_classes: int = 10, image_size: int = 8) -> nn.Sequential:
    """Three convolutions with BatchNorm and two dense layers, for images of 8 to 64 pixels.

    Args:
        in_channels: 1 or 3.
        num_classes: of the logits.
        image_size: height and width; the first stride grows with it so that the features stay 4x4 or so.
    """
    stride = max(1, image_size // 8)
    side = ceil(ceil(image_size / stride) / 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * side * side, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )
