from __future__ import annotations

import pytest
import torch

from harden.data import Examples


@pytest.fixture
def coloured() -> Examples:
    """40 images (3, 6, 5), uint8, three classes of 20, 15 and 5."""
    x = torch.randint(256, (40, 3, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    y = torch.tensor([0] * 20 + [1] * 15 + [2] * 5)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    return Examples(x, y[order], ("a", "b", "c"), "coloured")
