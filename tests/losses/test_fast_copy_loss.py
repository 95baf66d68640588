"""A loss with a fast copy: values, gradients and candidates of the copy; the exact part of the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.losses import DLR, CrossEntropy, FastCopyLoss, Margin, TargetedMargin, with_fast_copy

pytestmark = pytest.mark.usefixtures("rng_untouched")

Y = torch.arange(8) % 4
LOGITS = 3 * torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def exact(x: Tensor) -> Tensor:
    return x


def fast(x: Tensor) -> Tensor:
    """Such as half precision: near, and not the same."""
    return x.round()


@pytest.mark.parametrize("make", [CrossEntropy, Margin, DLR])
def test_values_gradients_and_candidates_are_of_the_copy(make: type[CrossEntropy]) -> None:
    loss = with_fast_copy(make, fast, exact, Y)
    assert isinstance(loss, FastCopyLoss)
    on_copy, on_network = make(fast, Y), make(exact, Y)
    assert torch.equal(loss(LOGITS), on_copy(LOGITS))
    assert all(map(torch.equal, loss.judged(LOGITS), on_copy.judged(LOGITS)))
    assert torch.equal(loss.logits(LOGITS), LOGITS.round())
    assert loss.graded is not None
    assert torch.equal(loss.graded(LOGITS).dlogits, on_copy.graded(LOGITS).dlogits)
    assert torch.equal(loss.exact(LOGITS), on_network(LOGITS))
    assert not torch.equal(loss(LOGITS), loss.exact(LOGITS))


def test_parts_and_targets_are_taken_of_both() -> None:
    loss, index, target = FastCopyLoss(Margin(fast, Y), Margin(exact, Y)), torch.tensor([6, 1]), (Y + 1) % 4
    part = loss.take(index)
    assert torch.equal(part.y, Y[index])
    assert torch.equal(part(LOGITS[index]), loss(LOGITS)[index])
    assert torch.equal(part.exact(LOGITS[index]), loss.exact(LOGITS)[index])
    aimed = loss.aimed(target)
    assert torch.equal(aimed(LOGITS), TargetedMargin(fast, Y, target)(LOGITS))
    assert torch.equal(aimed.exact(LOGITS), TargetedMargin(exact, Y, target)(LOGITS))


def test_a_plain_function_is_the_one_of_the_copy() -> None:
    loss = with_fast_copy(lambda classify, y: lambda x: classify(x).sum(1), fast, exact, Y)
    assert not isinstance(loss, FastCopyLoss)
    assert torch.equal(loss(LOGITS), LOGITS.round().sum(1))
