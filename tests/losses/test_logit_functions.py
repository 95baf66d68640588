"""Functions of logits against their formulas: margin, ratios and divergence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.losses import (
    divergence,
    dlr,
    errs,
    margin,
    targeted_dlr,
)

pytestmark = pytest.mark.usefixtures("rng_untouched")


CLASSES = 5


def _random(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    st.lists(st.lists(st.integers(-4, 4), min_size=2, max_size=5), min_size=1, max_size=6).filter(
        lambda rows: len({len(row) for row in rows}) == 1
    ),
    st.data(),
)
def test_the_margin_is_the_lead_of_the_best_wrong_class(rows: list[list[int]], data: st.DataObject) -> None:
    """Small integers make ties frequent; at a tie the margin is 0 and the prediction may be either."""
    logits = torch.tensor(rows, dtype=torch.float32)
    y = [data.draw(st.integers(0, len(row) - 1)) for row in rows]
    value = margin(logits, torch.tensor(y))
    expected = [
        max(z for k, z in enumerate(row) if k != own) - row[own] for row, own in zip(rows, y, strict=True)
    ]
    assert value.tolist() == expected
    wrong = logits.argmax(1) != torch.tensor(y)
    assert bool(wrong[value > 0].all())
    assert not bool(wrong[value < 0].any())


def test_the_margin_climbs_towards_the_best_wrong_class_alone() -> None:
    logits = torch.tensor([[1.0, 5.0, 3.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(margin(logits, torch.tensor([1])).sum(), logits)
    assert gradient.tolist() == [[0.0, -1.0, 1.0]]


@given(st.integers(0, 2**31), st.integers(3, 6), st.sampled_from([0.1, 1.0, 100.0]))
def test_the_ratio_is_the_margin_over_the_lead_over_the_third_class(
    seed: int, classes: int, scale: float
) -> None:
    logits, y = _random(8, classes, seed=seed), torch.arange(8) % classes
    expected = [
        (max(z for k, z in enumerate(row) if k != own) - row[own])
        / (sorted(row)[-1] - sorted(row)[-3] + 1e-12)
        for row, own in zip(logits.tolist(), y.tolist(), strict=True)
    ]
    value = dlr(logits, y)
    assert value.tolist() == pytest.approx(expected)
    assert torch.equal(value > 0, errs(logits, y))
    assert bool((value >= -1).all())
    torch.testing.assert_close(dlr(scale * logits + 7.0, y), value, rtol=1e-7, atol=1e-9)


@given(st.integers(0, 2**31), st.integers(4, 6))
def test_the_targeted_ratio_is_positive_where_the_target_leads_the_label(seed: int, classes: int) -> None:
    logits, y = _random(8, classes, seed=seed), torch.arange(8) % classes
    target = (y + 1 + seed % (classes - 1)) % classes
    expected = []
    for row, own, aim in zip(logits.tolist(), y.tolist(), target.tolist(), strict=True):
        first, _, third, fourth = sorted(row, reverse=True)[:4]
        expected.append((row[aim] - row[own]) / (first - (third + fourth) / 2 + 1e-12))
    assert targeted_dlr(logits, y, target).tolist() == pytest.approx(expected)


def test_classes_that_tie_do_not_divide_by_zero() -> None:
    logits = torch.tensor([[2.0, 2.0, 2.0, 2.0]], requires_grad=True)
    y, target = torch.tensor([1]), torch.tensor([0])
    for value in (dlr(logits, y), targeted_dlr(logits, y, target)):
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert value.tolist() == [0.0]
        assert bool(gradient.isfinite().all())
        assert float(gradient[0, 1]) < 0


@given(st.integers(0, 2**31), st.floats(5, 30))
def test_divergence_of_saturated_answers_is_negative_by_rounding_alone(seed: int, scale: float) -> None:
    """Two answers that agree on one class to the last bit differ by less than float64 can sum."""
    p, q = _random(4, CLASSES, seed=seed, scale=scale), _random(4, CLASSES, seed=seed + 1, scale=scale)
    assert bool((divergence(p.log_softmax(1), q) > -1e-14).all())


@given(st.integers(0, 2**31), st.floats(0.01, 4))
def test_divergence_is_never_negative_and_zero_only_where_the_two_agree(seed: int, scale: float) -> None:
    p, q = _random(4, CLASSES, seed=seed, scale=scale), _random(4, CLASSES, seed=seed + 1, scale=scale)
    log_p = p.log_softmax(1)
    assert bool((divergence(log_p, q) > 0).all())
    assert divergence(log_p, p).tolist() == [0.0] * 4
    # Logits are defined up to a constant.
    assert float(divergence(log_p, p + 3.0).abs().max()) < 1e-12


def test_divergence_stays_finite_where_float32_underflows() -> None:
    log_p = torch.tensor([[0.0, -200.0], [0.0, -1e4]]).log_softmax(1)
    value = divergence(log_p, torch.tensor([[0.0, -300.0], [-1e4, 0.0]]))
    assert bool(value.isfinite().all())
    assert value.tolist() == pytest.approx([0.0, 1e4])
