"""Losses against what their formulas say, written out in plain torch or Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from harden.errors import InputError
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
    divergence,
    dlr,
    errs,
    margin,
    targeted_dlr,
)

pytestmark = pytest.mark.usefixtures("rng_untouched")

Make = Callable[[Tensor], Any]
CLASSES, EXAMPLES = 5, 9


def _random(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _labels(n: int = EXAMPLES) -> Tensor:
    return torch.randint(CLASSES, (n,), generator=torch.Generator().manual_seed(7))


def _classify(x: Tensor) -> Tensor:
    return x.flatten(1) @ _random(12, CLASSES, seed=1, scale=1.0)


def _images(n: int = EXAMPLES) -> Tensor:
    return _random(n, 3, 2, 2, seed=2, scale=1.0)


LOSSES: dict[str, Make] = {
    "cross-entropy": lambda y: CrossEntropy(_classify, y),
    "margin": lambda y: Margin(_classify, y),
    "dlr": lambda y: DLR(_classify, y),
    "targeted dlr": lambda y: TargetedDLR(_classify, y, (y + 1) % CLASSES),
    "targeted cross-entropy": lambda y: TargetedCrossEntropy(_classify, y, (y + 1) % CLASSES),
    "targeted margin": lambda y: TargetedMargin(_classify, y, (y + 1) % CLASSES),
    "divergence": lambda y: Divergence(_classify, _random(len(y), CLASSES, seed=3).log_softmax(1)),
    "infonce": lambda y: InfoNCE(_classify, _random(EXAMPLES, CLASSES, seed=4), torch.arange(len(y)), 0.3),
}
every_loss = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())


@every_loss
def test_a_loss_has_one_finite_value_per_example_and_a_gradient(make: Make) -> None:
    loss, x = make(_labels()), _images().requires_grad_()
    value = loss(x)
    assert isinstance(loss, Loss) == (not isinstance(loss, Divergence | InfoNCE))
    assert value.shape == (EXAMPLES,)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert bool(gradient.isfinite().all())
    assert bool((gradient.flatten(1).abs().sum(1) > 0).all())


@every_loss
def test_an_examples_loss_depends_on_its_image_alone(make: Make) -> None:
    loss, x = make(_labels()), _images().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x)[4], x)
    others = torch.arange(EXAMPLES) != 4
    assert bool((gradient[others] == 0).all())
    assert bool((gradient[4] != 0).any())


@every_loss
@pytest.mark.parametrize(
    "index", [torch.tensor([7, 0, 3]), torch.arange(EXAMPLES) % 2 == 0, torch.tensor([], dtype=torch.int64)]
)
def test_take_restricts_the_loss_to_some_examples(make: Make, index: Tensor) -> None:
    loss, x = make(_labels()), _images()
    torch.testing.assert_close(loss.take(index)(x[index]), loss(x)[index], rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.take(index).logits(x[index]), loss.logits(x)[index], rtol=1e-12, atol=0)
    again = torch.arange(len(x[index])).flip(0)
    torch.testing.assert_close(
        loss.take(index).take(again)(x[index][again]), loss(x)[index][again], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "infonce"])
def test_logits_are_the_networks(name: str) -> None:
    assert torch.equal(LOSSES[name](_labels()).logits(_images()), _classify(_images()))


def test_cross_entropy_is_minus_the_log_probability() -> None:
    x, y = _images(), _labels()
    probability = _classify(x).exp() / _classify(x).exp().sum(1, keepdim=True)
    expected = -probability[torch.arange(EXAMPLES), y].log()
    torch.testing.assert_close(CrossEntropy(_classify, y)(x), expected, rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize("name", ["dlr", "targeted dlr"])
def test_a_ratio_tells_where_the_network_errs(name: str) -> None:
    loss, x = LOSSES[name](_labels()), _images()
    value, wrong = loss.judged(x)
    assert torch.equal(value, loss(x))
    assert torch.equal(wrong, _classify(x).argmax(1) != _labels())


def test_classes_that_tie_do_not_divide_by_zero() -> None:
    logits = torch.tensor([[2.0, 2.0, 2.0, 2.0]], requires_grad=True)
    y, target = torch.tensor([1]), torch.tensor([0])
    for value in (dlr(logits, y), targeted_dlr(logits, y, target)):
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert value.tolist() == [0.0]
        assert bool(gradient.isfinite().all())
        assert float(gradient[0, 1]) < 0


def test_a_ratio_of_too_few_classes_is_refused_and_the_margin_named() -> None:
    with pytest.raises(InputError, match="3 classes") as caught:
        DLR(lambda x: x, torch.zeros(2, dtype=torch.int64))(torch.zeros(2, 2))
    assert "Margin" in caught.value.instead
    labels = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(InputError, match="4 classes"):
        TargetedDLR(lambda x: x, labels, labels).judged(torch.zeros(2, 3))


def test_divergence_is_the_sum_in_the_docstring() -> None:
    log_p, logits = _random(EXAMPLES, CLASSES, seed=5).log_softmax(1), _random(EXAMPLES, CLASSES, seed=6)
    q = logits.softmax(1)
    expected = [
        sum(math.exp(a) * (a - math.log(b)) for a, b in zip(row_p, row_q, strict=True))
        for row_p, row_q in zip(log_p.tolist(), q.tolist(), strict=True)
    ]
    torch.testing.assert_close(divergence(log_p, logits), torch.tensor(expected, dtype=torch.float64))
    reference = functional.kl_div(q.log(), log_p, reduction="none", log_target=True).sum(1)
    torch.testing.assert_close(Divergence(lambda _: logits, log_p)(logits), reference)


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


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_infonce_agrees_with_a_loop_over_its_definition(temperature: float) -> None:
    embeddings, keys = _random(6, 4, seed=8), _random(10, 4, seed=9)
    positive = [3, 0, 9, 9, 1, 5]

    def cosine(a: list[float], b: list[float]) -> float:
        dot = sum(u * v for u, v in zip(a, b, strict=True))
        return dot / math.sqrt(sum(u * u for u in a) * sum(v * v for v in b))

    expected = []
    for i, embedding in enumerate(embeddings.tolist()):
        terms = [math.exp(cosine(embedding, key) / temperature) for key in keys.tolist()]
        expected.append(-math.log(terms[positive[i]] / sum(terms)))
    loss = InfoNCE(lambda x: x, keys, torch.tensor(positive), temperature)
    torch.testing.assert_close(loss(embeddings), torch.tensor(expected, dtype=torch.float64))


def test_infonce_does_not_see_the_length_of_an_embedding() -> None:
    loss = LOSSES["infonce"](_labels())
    assert isinstance(loss, InfoNCE)
    longer = InfoNCE(lambda x: 7 * loss.embed(x), 0.2 * loss.keys, loss.positive, loss.temperature)
    torch.testing.assert_close(longer(_images()), loss(_images()))


def test_a_plain_function_is_no_full_loss() -> None:
    """An attack must be able to distinguish the two."""
    assert not isinstance(lambda x: x.flatten(1).sum(1), Loss)
