"""One whole PGD-20 attack on a small CNN compared with its limit: 20 times forward and input gradient.

    pytest benchmarks/test_attacks.py --benchmark-enable --benchmark-sort=name

The quotient of the two is the cost of an attack beyond the network; nothing is asserted about time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD
from harden.attacks.attack import loss_and_gradient
from harden.draws import Draws
from harden.losses import CrossEntropy
from harden.models import Classifier, PassMeter, counting, frozen
from harden.models.small_networks import small_cnn
from harden.threats import L1, L2, Linf

STEPS, BATCH = 20, 128
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


@pytest.fixture(scope="module")
def loss() -> Iterator[CrossEntropy]:
    """The cross-entropy of a frozen small CNN, normalisation inside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Classifier(small_cnn(3, 10, 32), MEAN, STD)
    with frozen(model):
        yield CrossEntropy(model.logits, torch.arange(BATCH) % 10)


@pytest.fixture(scope="module")
def x() -> Tensor:
    """A batch of images (128, 3, 32, 32)."""
    return torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.benchmark(group="PGD-20, small CNN, 128 x 3 x 32 x 32")
def test_the_limit(benchmark: Any, loss: CrossEntropy, x: Tensor) -> None:
    """20 x (forward + input gradient), and nothing else."""

    def limit() -> Tensor:
        for _ in range(STEPS):
            _, gradient = loss_and_gradient(loss, x)
        return gradient

    with counting(PassMeter()) as meter:
        gradient = limit()
    assert meter.passes == STEPS * BATCH
    assert bool((gradient != 0).any())
    benchmark(limit)


@pytest.mark.benchmark(group="PGD-20, small CNN, 128 x 3 x 32 x 32")
@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("threat", [Linf("8/255"), L2("1/2"), L1(12)], ids=["linf", "l2", "l1"])
def test_an_attack(
    benchmark: Any, loss: CrossEntropy, x: Tensor, threat: Linf | L2 | L1, keep_best: bool
) -> None:
    """The whole attack: random start, 20 steps, projection, bookkeeping."""
    attack, draws = PGD(steps=STEPS, keep_best=keep_best, stop_early=True), Draws(0, torch.arange(BATCH))
    x_adv = benchmark(attack, loss, x, threat, draws)
    assert bool(threat.contains(x_adv, x).all())
    with torch.no_grad():
        assert float(loss(x_adv).mean()) > float(loss(x).mean())


@pytest.mark.benchmark(group="random start, 128 x 3 x 32 x 32")
@pytest.mark.parametrize("threat", [Linf("8/255"), L2("1/2"), L1(12)], ids=["linf", "l2", "l1"])
def test_a_random_start(benchmark: Any, x: Tensor, threat: Linf | L2 | L1) -> None:
    """Time of counter-based draws in plain torch, once a restart."""
    start = benchmark(threat.start, x, Draws(0, torch.arange(BATCH)))
    assert bool(threat.contains(start, x).all())
