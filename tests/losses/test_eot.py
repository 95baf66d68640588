"""The expectation over a network's own randomness."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD, Targeted
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import (
    DLR,
    EOT,
    CrossEntropy,
    ExpectedLoss,
    FastCopyLoss,
    Margin,
    TargetedDLR,
    with_fast_copy,
)
from harden.threats import Linf
from tests.attacks.own_loss import OwnLoss

Y = torch.tensor([0, 1, 2, 3])


class Noisy:
    """A linear classifier whose logits move by random numbers of its own."""

    def __init__(self, size: float, seed: int = 0) -> None:
        self.size, self.generator = size, torch.Generator().manual_seed(seed)
        self.weight = torch.randn(4, 12, generator=torch.Generator().manual_seed(7))
        self.asked = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.asked += 1
        clean = x.flatten(1) @ self.weight.T
        return clean + self.size * torch.randn(clean.shape, generator=self.generator)


def images() -> Tensor:
    return torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", [CrossEntropy, Margin, DLR])
def test_without_randomness_it_is_the_loss(make: type[CrossEntropy]) -> None:
    still, x = Noisy(0.0), images()
    plain, mean = make(still, Y), EOT(make, samples=3)(still, Y)
    torch.testing.assert_close(mean(x), plain(x))
    torch.testing.assert_close(mean.logits(x), plain.logits(x))
    assert torch.equal(mean.judged(x)[1], plain.judged(x)[1])
    index = torch.tensor([2, 0])
    torch.testing.assert_close(mean.take(index)(x[index]), plain.take(index)(x[index]))


def test_the_mean_of_many_draws_is_steadier_than_one() -> None:
    x = images()
    one = torch.stack([EOT(Margin, 1)(Noisy(1.0, seed), Y)(x) for seed in range(60)]).std(0)
    many = torch.stack([EOT(Margin, 25)(Noisy(1.0, seed), Y)(x) for seed in range(60)]).std(0)
    assert bool((many < 0.4 * one).all())
    network = Noisy(1.0)
    EOT(Margin, 25)(network, Y)(x)
    assert network.asked == 25


def test_most_draws_decide_what_is_an_error() -> None:
    answers = iter([[True, True, False, True], [True, False, False, False], [True, False, True, True]])

    class Scripted(OwnLoss):
        def __call__(self, x: Tensor) -> Tensor:
            return torch.zeros(4)

        def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros(4), torch.tensor(next(answers))

        def take(self, index: Tensor) -> Scripted:
            return self

        def logits(self, x: Tensor) -> Tensor:
            return torch.zeros(4, 4)

    assert ExpectedLoss(Scripted(), 3).judged(images())[1].tolist() == [True, False, False, True]


def test_it_is_aimed_and_takes_a_fast_copy_as_other_losses() -> None:
    network = Noisy(0.1)
    aimed = EOT(DLR, 2)(network, Y).aimed((Y + 1) % 4)
    assert isinstance(aimed.loss, TargetedDLR)
    loss = with_fast_copy(EOT(DLR, 2), network, network, Y)
    assert isinstance(loss, FastCopyLoss)
    assert torch.equal(loss.y, Y)
    found = Targeted(PGD(steps=3))(loss, images(), Linf("0.1"), Draws(0, torch.arange(4)))
    assert bool(Linf("0.1").contains(found, images()).all())


def test_the_mean_gradient_finds_what_a_single_draw_misses() -> None:
    """Noise of ten times the signal: the sign of one gradient is a coin's, that of the mean is not."""

    class Shaky:
        def __init__(self, seed: int) -> None:
            self.generator = torch.Generator().manual_seed(seed)

        def __call__(self, x: Tensor) -> Tensor:
            slope = 1 + 10 * torch.randn(x.shape, generator=self.generator)
            lead = (slope * (x - 0.5)).flatten(1).mean(1)
            return torch.stack((0.05 - lead, lead), 1)

    x, y, threat = torch.full((40, 1, 6, 6), 0.5), torch.zeros(40, dtype=torch.int64), Linf("0.1")
    attack = PGD(steps=1, step_size=1.0, random_start=False, keep_best=False)

    def gained(samples: int) -> float:
        found = attack(EOT(Margin, samples)(Shaky(3), y), x, threat, Draws(0, torch.arange(40)))
        return float((found - x).mean())

    assert gained(1) < 0.02
    assert gained(400) > 0.08


def test_what_it_refuses() -> None:
    with pytest.raises(InputError, match="at least one"):
        EOT(DLR, 0)
    with pytest.raises(InputError, match="does not judge"):
        EOT(lambda classify, y: lambda x: x.flatten(1).sum(1))(Noisy(0.0), Y)
    loss = EOT(lambda classify, y: TargetedDLR(classify, y, (y + 1) % 4))(Noisy(0.0), Y)
    with pytest.raises(InputError, match="no targeted form"):
        loss.aimed(Y)
