"""Targeted losses against their formulas, and the way from a loss to its targeted form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.errors import InputError
from harden.losses import (
    DLR,
    EOT,
    CrossEntropy,
    FastCopyLoss,
    Loss,
    Margin,
    TargetedCrossEntropy,
    TargetedDLR,
    TargetedMargin,
    errs,
)

pytestmark = pytest.mark.usefixtures("rng_untouched")

Targeted = type[TargetedCrossEntropy] | type[TargetedDLR] | type[TargetedMargin]
KINDS: dict[type[CrossEntropy] | type[Margin] | type[DLR], Targeted] = {
    CrossEntropy: TargetedCrossEntropy,
    Margin: TargetedMargin,
    DLR: TargetedDLR,
}
every_kind = pytest.mark.parametrize(("plain", "targeted"), KINDS.items())


def _itself(logits: Tensor) -> Tensor:
    return logits


def _rows(seed: int, classes: int, n: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    logits = 3 * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = torch.arange(n) % classes
    return logits, y, (y + 1 + seed % (classes - 1)) % classes


@given(st.integers(0, 2**31), st.integers(2, 6))
def test_the_targeted_cross_entropy_is_the_log_probability_of_the_target(seed: int, classes: int) -> None:
    logits, y, target = _rows(seed, classes)
    value = TargetedCrossEntropy(_itself, y, target)(logits)
    expected = [
        math.log(math.exp(row[aim]) / sum(map(math.exp, row)))
        for row, aim in zip(logits.tolist(), target.tolist(), strict=True)
    ]
    assert value.tolist() == pytest.approx(expected)
    assert bool((value <= 0).all())
    assert bool(errs(logits, y)[value > -math.log(2)].all())


@given(st.integers(0, 2**31), st.integers(2, 6))
def test_the_targeted_margin_is_positive_where_the_target_leads_the_label(seed: int, classes: int) -> None:
    logits, y, target = _rows(seed, classes)
    value = TargetedMargin(_itself, y, target)(logits)
    expected = [
        row[aim] - row[own] for row, own, aim in zip(*map(Tensor.tolist, (logits, y, target)), strict=True)
    ]
    assert value.tolist() == expected
    assert bool(errs(logits, y)[value > 0].all())


@every_kind
def test_an_error_is_any_answer_but_the_label(
    plain: type[CrossEntropy] | type[Margin] | type[DLR], targeted: Targeted
) -> None:
    logits, y, target = _rows(0, 5, 40)
    loss = targeted(_itself, y, target)
    value, wrong = loss.judged(logits)
    assert torch.equal(value, loss(logits))
    assert torch.equal(wrong, plain(_itself, y).judged(logits)[1])
    assert bool((logits.argmax(1) != target)[wrong].any())


@every_kind
def test_one_operation_is_what_autograd_makes_of_the_loss(
    plain: type[CrossEntropy] | type[Margin] | type[DLR], targeted: Targeted
) -> None:
    logits, y, target = _rows(1, 5)
    logits = logits.float().requires_grad_()
    for loss in (targeted(_itself, y, target), plain(_itself, y)):
        out, value = loss.graded(logits.detach()), loss(logits)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        torch.testing.assert_close(out.loss, value.detach())
        torch.testing.assert_close(out.dlogits, gradient)
        assert torch.equal(out.wrong, errs(logits, y))


@every_kind
def test_a_loss_is_aimed_at_a_class(
    plain: type[CrossEntropy] | type[Margin] | type[DLR], targeted: Targeted
) -> None:
    logits, y, target = _rows(2, 5)
    loss = plain(_itself, y)
    aimed: Loss = loss.aimed(target)
    assert type(aimed) is targeted
    assert isinstance(aimed, Loss)
    with pytest.raises(InputError, match="no targeted form"):
        aimed.aimed(target)
    assert torch.equal(aimed(logits), targeted(_itself, y, target)(logits))
    index = torch.tensor([5, 1])
    assert torch.equal(loss.take(index).aimed(target[index])(logits[index]), aimed(logits)[index])
    assert torch.equal(aimed.take(index)(logits[index]), aimed(logits)[index])


@every_kind
def test_a_loss_with_a_fast_copy_aims_both_its_parts(
    plain: type[CrossEntropy] | type[Margin] | type[DLR], targeted: Targeted
) -> None:
    logits, y, target = _rows(3, 5)
    loss = FastCopyLoss(plain(lambda x: x.round(), y), plain(_itself, y))
    assert torch.equal(loss.y, y)
    aimed = loss.aimed(target)
    assert isinstance(aimed, FastCopyLoss)
    assert torch.equal(aimed(logits), targeted(torch.round, y, target)(logits))
    assert torch.equal(aimed.exact(logits), targeted(_itself, y, target)(logits))
    assert torch.equal(aimed.y, y)
    with pytest.raises(InputError, match="no targeted form"):
        aimed.aimed(target)


def test_a_loss_without_targeted_form_is_not_aimed() -> None:
    own: Loss = EOT(lambda classify, y: TargetedMargin(classify, y, y))(
        _itself, torch.zeros(1, dtype=torch.int64)
    )
    for loss in (own, FastCopyLoss(own, own)):
        with pytest.raises(InputError, match="no targeted form") as caught:
            loss.aimed(torch.tensor([0]))
        assert "CrossEntropy" in caught.value.expected
