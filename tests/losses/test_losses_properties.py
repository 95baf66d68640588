"""Losses over shapes, types and layouts: one value an example, whatever else is in the batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.losses import (
    DLR,
    CrossEntropy,
    Divergence,
    InfoNCE,
    Loss,
    Margin,
    TargetedCrossEntropy,
    TargetedDLR,
    TargetedMargin,
)

pytestmark = pytest.mark.usefixtures("rng_untouched")

MOST, CLASSES = 6, 4
Targeted = TargetedCrossEntropy | TargetedDLR | TargetedMargin
AnyLoss = CrossEntropy | Margin | DLR | Targeted | Divergence | InfoNCE


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _classify(x: Tensor) -> Tensor:
    """Example by example, so that no batch size changes the order of a sum."""
    weight = _random(x[0].numel() if len(x) else 1, CLASSES, seed=1).to(x.dtype)
    rows = [(one.flatten().unsqueeze(1) * weight).sum(0) for one in x]
    return torch.stack(rows) if rows else x.new_zeros(0, CLASSES)


def _losses(n: int, dtype: torch.dtype) -> dict[str, AnyLoss]:
    y = torch.arange(n) % CLASSES
    log_target = _random(MOST, CLASSES, seed=3).log_softmax(1)[:n].to(dtype)
    return {
        "cross-entropy": CrossEntropy(_classify, y),
        "margin": Margin(_classify, y),
        "dlr": DLR(_classify, y),
        "targeted dlr": TargetedDLR(_classify, y, (y + 1) % CLASSES),
        "targeted cross-entropy": TargetedCrossEntropy(_classify, y, (y + 1) % CLASSES),
        "targeted margin": TargetedMargin(_classify, y, (y + 1) % CLASSES),
        "divergence": Divergence(_classify, log_target),
        "infonce": InfoNCE(_classify, _random(MOST, CLASSES, seed=4).to(dtype), torch.arange(n), 0.3),
    }


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels_last": lambda x: x.clone(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "offset": lambda x: torch.cat([x.new_zeros(1, *x.shape[1:]), x])[1:],
    "requires_grad": lambda x: x.clone().requires_grad_(),
}
NAMES = st.sampled_from(list(_losses(1, torch.float32)))
TYPES = st.sampled_from([torch.float32, torch.float64])
SHAPES = st.tuples(st.integers(0, MOST), st.sampled_from([1, 3]), st.integers(1, 3), st.integers(1, 3))


@given(SHAPES, NAMES, TYPES, st.sampled_from(sorted(LAYOUTS)), st.integers(0, 99))
def test_a_layout_changes_no_value_and_nothing_is_written(
    shape: tuple[int, int, int, int], name: str, dtype: torch.dtype, layout: str, seed: int
) -> None:
    x = _random(*shape, seed=seed).to(dtype)
    loss, there = _losses(shape[0], dtype)[name], LAYOUTS[layout](x)
    value = loss(x)
    assert value.shape == (shape[0],)
    assert value.dtype == dtype
    assert torch.equal(loss(there), value)
    assert torch.equal(there, x)
    assert torch.equal(loss.logits(there), loss.logits(x))


@given(SHAPES, NAMES, TYPES, st.integers(0, 99), st.data())
def test_an_example_has_its_value_in_any_batch(
    shape: tuple[int, int, int, int], name: str, dtype: torch.dtype, seed: int, data: st.DataObject
) -> None:
    """Alone, in any order, and beside an image that is not a number."""
    n = shape[0]
    x = _random(*shape, seed=seed).to(dtype)
    loss = _losses(n, dtype)[name]
    whole = loss(x)
    order = torch.tensor(data.draw(st.permutations(range(n))), dtype=torch.int64)
    kept = order[: data.draw(st.integers(0, n))]
    rounding = 1e-5 if dtype == torch.float32 else 1e-12  # InfoNCE multiplies matrices
    torch.testing.assert_close(loss.take(kept)(x[kept]), whole[kept], rtol=rounding, atol=rounding)
    if n > 1:
        spoilt = x.clone()
        spoilt[0] = math.nan
        torch.testing.assert_close(loss(spoilt)[1:], whole[1:], rtol=rounding, atol=rounding)


@given(
    SHAPES,
    st.sampled_from(["cross-entropy", "margin", "targeted cross-entropy", "targeted margin"]),
    TYPES,
    st.integers(0, 99),
)
def test_what_is_judged_is_the_loss_and_the_answer(
    shape: tuple[int, int, int, int], name: str, dtype: torch.dtype, seed: int
) -> None:
    x = _random(*shape, seed=seed).to(dtype)
    loss = _losses(shape[0], dtype)[name]
    assert isinstance(loss, Loss)
    value, wrong = loss.judged(x)
    assert torch.equal(value, loss(x))
    answers = [max(range(CLASSES), key=row.__getitem__) for row in loss.logits(x).tolist()]
    assert wrong.tolist() == [answer != k % CLASSES for k, answer in enumerate(answers)]


@given(st.integers(1, MOST), st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, CLASSES - 1))
def test_a_logit_that_is_no_number_is_an_error_of_the_network(n: int, value: float, place: int) -> None:
    def broken(x: Tensor) -> Tensor:
        logits = _classify(x).clone()
        logits[0, place] = value
        return logits

    x, y = _random(n, 1, 2, 2, seed=0), torch.arange(n) % CLASSES
    for loss in (CrossEntropy(broken, y), Margin(broken, y)):
        assert loss.judged(x)[1].tolist()[0] is True
        assert torch.equal(loss.judged(x)[1][1:], type(loss)(_classify, y).judged(x)[1][1:])


@given(st.integers(1, MOST), NAMES, st.sampled_from([torch.float16, torch.bfloat16]))
def test_half_precision_stays_near_and_finite(n: int, name: str, dtype: torch.dtype) -> None:
    x = _random(n, 1, 2, 2, seed=5)
    exact = _losses(n, torch.float64)[name](x)
    value = _losses(n, dtype)[name](x.to(dtype))
    assert bool(value.isfinite().all())
    torch.testing.assert_close(value.double(), exact, rtol=0.1, atol=0.25)
