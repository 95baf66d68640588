"""The small network fits the image sizes that it promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harden.models.small_networks import small_cnn


@pytest.mark.parametrize("size", [8, 9, 15, 16, 28, 31, 32, 33, 63, 64])
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 2)])
def test_it_takes_every_size_from_8_to_64(size: int, channels: int, classes: int) -> None:
    network = small_cnn(channels, classes, size).eval()
    logits = network(torch.zeros(2, channels, size, size))
    assert logits.shape == (2, classes)
    head = network[10]
    assert isinstance(head, nn.Linear)
    assert head.in_features <= 32 * 8 * 8
