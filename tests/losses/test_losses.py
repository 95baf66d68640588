"""Losses against what their formulas say, written out in plain torch or Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

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


@pytest.mark.parametrize("name", ["dlr", "targeted dlr"])
def test_a_ratio_tells_where_the_network_errs(name: str) -> None:
    loss, x = LOSSES[name](_labels()), _images()
    value, wrong = loss.judged(x)
    assert torch.equal(value, loss(x))
    assert torch.equal(wrong, _classify(x).argmax(1) != _labels())


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
