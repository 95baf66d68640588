"""The way from an attack to the network is short enough to read in a traceback."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from harden.attacks import APGD, FGSM, MIFGSM, PGD, Attack
from harden.draws import Draws
from harden.losses import CrossEntropy, FastCopyLoss
from harden.threats import Linf

MOST = 8


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize(
    "attack",
    [PGD(3), PGD(3, stop_early=True), PGD(3, keep_best=False), FGSM(), APGD(3), MIFGSM(3)],
    ids=repr,
)
def test_the_network_is_few_calls_away(attack: Attack, copy: bool) -> None:
    depths: list[int] = []

    def network(x: Tensor) -> Tensor:
        frame, depth = sys._getframe(), 0
        while frame is not None and frame.f_code is not type(attack).__call__.__code__:
            frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
        assert frame is not None
        depths.append(depth)
        return x.flatten(1)[:, :3] * 2

    x, y = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 3
    loss = CrossEntropy(network, y)
    attack(FastCopyLoss(loss, loss) if copy else loss, x, Linf("1/10"), Draws(0, torch.arange(4)))
    assert 1 < max(depths) <= MOST
