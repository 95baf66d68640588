"""The search: it stops where it may, finds what a search without tricks finds, and believes no fast copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.attacks import APGD, MIFGSM, PGD, Attack, Square
from harden.draws import Draws
from harden.losses import CrossEntropy, FastCopyLoss, Loss, with_fast_copy
from harden.threats import L2, Linf, Threat
from tests.attacks.own_loss import OwnLoss

pytestmark = pytest.mark.usefixtures("rng_untouched")

ATTACKS: dict[str, Callable[[bool], Attack]] = {
    "pgd": lambda stop: PGD(steps=6, step_size=0.3, restarts=2, stop_early=stop),
    "mifgsm": lambda stop: MIFGSM(steps=6, stop_early=stop),
    "apgd": lambda stop: APGD(steps=12, restarts=2, stop_early=stop),
    "square": lambda stop: Square(queries=12, restarts=2, stop_early=stop),
}
EVERY = pytest.mark.parametrize("name", ATTACKS)
N = 24


@dataclass(frozen=True, eq=False)
class Wavy(OwnLoss):
    """Many local maxima, pixel by pixel: the same bits in any batch. It errs above `errs_at`."""

    size: Tensor
    pace: Tensor
    errs_at: Tensor
    asked: list[int] = field(default_factory=list)

    def __call__(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return (self.size * torch.sin(150 * self.pace * x)).flatten(1).sum(1)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = self(x)
        return value, value.detach() > self.errs_at

    def take(self, index: Tensor) -> Wavy:
        return Wavy(self.size, self.pace, self.errs_at[index], self.asked)

    def logits(self, x: Tensor) -> Tensor:
        return torch.stack((self(x), torch.zeros(len(x))), 1)


def _wavy(seed: int, height: float = 6.0) -> Wavy:
    generator = torch.Generator().manual_seed(seed)
    size, pace = (torch.rand(3, 4, 4, generator=generator) for _ in range(2))
    return Wavy(size, pace, height + 4 * torch.randn(N, generator=generator))


def _x(seed: int) -> Tensor:
    return torch.rand(N, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def _draws(seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(N))


class Always(OwnLoss):
    """A judge with an account of its own of where the network errs."""

    def __init__(self, inner: Wavy, wrong: bool) -> None:
        self.inner, self.wrong = inner, wrong

    def __call__(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), torch.full((len(x),), self.wrong)

    def take(self, index: Tensor) -> Always:
        return Always(self.inner.take(index), self.wrong)

    def logits(self, x: Tensor) -> Tensor:
        return self.inner.logits(x)


@EVERY
@given(seed=st.integers(0, 300), threat=st.sampled_from([Linf("1/10"), L2("1/3")]))
def test_stopping_early_finds_the_same_examples(name: str, seed: int, threat: Threat) -> None:
    loss, x = _wavy(seed), _x(seed)
    first = ATTACKS[name](True)(loss, x, threat, _draws())
    whole = ATTACKS[name](False)(loss, x, threat, _draws())
    assert torch.equal(loss.judged(first)[1], loss.judged(whole)[1])
    assert bool((loss(whole) >= loss(first)).all())
    assert bool(threat.contains(first, x).all())
    # Those that stand were searched to the end, whatever was left out beside them.
    stands = ~loss.judged(first)[1]
    assert torch.equal(first[stands], whole[stands])


@EVERY
def test_the_first_witness_is_kept(name: str) -> None:
    loss, x = _wavy(1), _x(1)
    found = ATTACKS[name](True)(loss, x, Linf("1/10"), _draws())
    wrong = loss.judged(found)[1]
    assert 3 < int(wrong.sum()) < N
    for row in range(N):
        alone = loss.take(torch.tensor([row]))
        own = ATTACKS[name](True)(alone, x[row : row + 1], Linf("1/10"), _draws().take(torch.tensor([row])))
        assert torch.equal(own[0], found[row])


@EVERY
def test_settled_examples_cost_no_more(name: str) -> None:
    loss, x = _wavy(1), _x(1)
    ATTACKS[name](True)(loss, x, Linf("1/10"), _draws())
    stopped = sum(loss.asked)
    loss.asked.clear()
    ATTACKS[name](False)(loss, x, Linf("1/10"), _draws())
    assert stopped < 0.8 * sum(loss.asked)
    easy = Wavy(loss.size, loss.pace, torch.full((N,), -1e9))
    ATTACKS[name](True)(easy, x, Linf("1/10"), _draws())
    assert easy.asked == [N]


@EVERY
@pytest.mark.parametrize("stop", [True, False])
def test_a_copy_that_cries_wolf_is_not_believed(name: str, stop: bool) -> None:
    loss, x = _wavy(2), _x(2)
    liar: Loss = Always(loss, wrong=True)
    found = ATTACKS[name](stop)(FastCopyLoss(liar, loss), x, Linf("1/10"), _draws())
    truth = ATTACKS[name](stop)(loss, x, Linf("1/10"), _draws())
    assert torch.equal(loss.judged(found)[1], loss.judged(truth)[1])
    assert 0 < int(loss.judged(found)[1].sum()) < N


@EVERY
def test_errors_that_the_copy_does_not_see_are_found_at_the_end(name: str) -> None:
    loss, x = _wavy(3, height=2.0), _x(3)
    blind: Loss = Always(loss, wrong=False)
    found = ATTACKS[name](True)(FastCopyLoss(blind, loss), x, Linf("1/10"), _draws())
    highest = ATTACKS[name](False)(blind, x, Linf("1/10"), _draws())
    assert int(loss.judged(found)[1].sum()) >= int(loss.judged(highest)[1].sum()) > 3
    loss.asked.clear()
    ATTACKS[name](True)(FastCopyLoss(blind, Always(loss, wrong=True)), x, Linf("1/10"), _draws())
    # The network was asked once, at the end of the first run, which with Square is about the image itself;
    # then there was nothing left to do.
    assert sum(loss.asked) == {"pgd": 7, "mifgsm": 7, "apgd": 13, "square": 1}[name] * N


@EVERY
def test_without_stopping_a_certain_witness_is_not_given_up(name: str) -> None:
    """Where the fast copy prefers a point that the network gets right, the certain one is returned."""
    loss, x = _wavy(4), _x(4)

    class OnlyLow(OwnLoss):
        """The network errs in a band of the loss, and no more above it."""

        def __init__(self, inner: Wavy) -> None:
            self.inner = inner

        def __call__(self, x: Tensor) -> Tensor:
            return self.inner(x)

        def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
            value, wrong = self.inner.judged(x)
            return value, wrong & (value.detach() < self.inner.errs_at + 2)

        def take(self, index: Tensor) -> OnlyLow:
            return OnlyLow(self.inner.take(index))

        def logits(self, x: Tensor) -> Tensor:
            return self.inner.logits(x)

    band = OnlyLow(loss)
    found = ATTACKS[name](False)(FastCopyLoss(loss, band), x, Linf("1/10"), _draws())
    early = ATTACKS[name](True)(FastCopyLoss(loss, band), x, Linf("1/10"), _draws())
    assert bool((band.judged(found)[1] >= band.judged(early)[1]).all())
    assert int(band.judged(found)[1].sum()) > 3


@pytest.mark.parametrize("name", ["pgd", "mifgsm", "apgd"])
def test_without_stopping_the_network_is_asked_once_about_each_example(name: str) -> None:
    steps, x = 6, _x(5)
    attacks: dict[str, Attack] = {
        "pgd": PGD(steps, stop_early=False),
        "apgd": APGD(steps, stop_early=False),
        "mifgsm": MIFGSM(steps, stop_early=False),
    }
    attack = attacks[name]
    copy, network = _wavy(5, height=8.0), _wavy(5, height=8.0)
    found = attack(FastCopyLoss(copy, network), x, Linf("1/10"), _draws())
    assert sum(network.asked) == N
    assert sum(copy.asked) == (steps + 1) * N
    assert torch.equal(found, attack(_wavy(5, height=8.0), x, Linf("1/10"), _draws()))
    assert 3 < int(network.judged(found)[1].sum()) < N


def test_a_steered_loss_is_made_where_errors_are_told() -> None:
    def classify(x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3]

    y, made = torch.zeros(4, dtype=torch.int64), []

    def plain(classify: Callable[[Tensor], Tensor], y: Tensor) -> Callable[[Tensor], Tensor]:
        made.append(classify)
        return lambda x: classify(x).sum(1)

    assert isinstance(with_fast_copy(CrossEntropy, classify, classify, y), FastCopyLoss)
    assert not isinstance(with_fast_copy(plain, classify, classify, y), FastCopyLoss)
    assert len(made) == 1
