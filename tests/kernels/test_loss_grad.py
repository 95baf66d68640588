"""Losses of logits and their gradients: against autograd in float64, and compiled against plain torch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.losses import errs, margin
from tests.kernels.rows_of_logits import (
    FIELDS,
    LOSSES,
    assert_close,
    both_backends,
    every_loss,
    random_rows,
    run,
)


@both_backends
@pytest.mark.parametrize(
    ("name", "classes"),
    [
        (name, classes)
        for name, (least, _) in LOSSES.items()
        for classes in (1, 2, 3, 4, 10, 1000)
        # A margin over no other class is no number that torch could differentiate; see below.
        if classes >= least and (name, classes) != ("margin", 1)
    ],
)
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_loss_and_gradient_are_those_of_autograd(backend: str, name: str, classes: int, scale: float) -> None:
    _, formula = LOSSES[name]
    logits, y, target = random_rows(64, classes, classes, scale)
    exact = logits.double().requires_grad_()
    value = formula(exact, y, target)
    (gradient,) = torch.autograd.grad(value.sum(), exact)
    out = run(name, logits, y, target, backend)
    torch.testing.assert_close(out.loss, value.detach().float(), rtol=1e-6, atol=1e-12)
    assert_close(out.dlogits, gradient, logits)
    assert torch.equal(out.wrong, errs(logits, y))
    if classes > 1:
        assert torch.equal(out.margin, margin(logits, y))


NUMBERS = st.one_of(
    st.integers(-3, 3).map(float),  # ties
    st.floats(-80.0, 80.0, width=32),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e38, -3e38, 1e-40, -0.0]),
)


@given(st.data(), st.sampled_from(list(LOSSES)), st.integers(1, 5), st.integers(0, 4), st.booleans())
def test_the_backends_agree_on_anything(
    data: st.DataObject, name: str, classes: int, n: int, narrow: bool
) -> None:
    classes = max(classes, LOSSES[name][0])
    rows = st.lists(NUMBERS, min_size=classes, max_size=classes)
    numbers = data.draw(st.lists(rows, min_size=n, max_size=n))
    labels = st.lists(st.integers(-1, classes), min_size=n, max_size=n)
    logits = torch.tensor(numbers, dtype=torch.float32).reshape(n, classes)
    logits = logits.bfloat16() if narrow else logits
    y, target = (torch.tensor(data.draw(labels), dtype=torch.int64) for _ in range(2))
    one, other = (run(name, logits, y, target, backend) for backend in ("door", "torch"))
    assert torch.equal(one.wrong, other.wrong)
    torch.testing.assert_close(one.margin, other.margin, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-6, atol=1e-12, equal_nan=True)
    assert one.dlogits.dtype == logits.dtype
    assert bool(one.dlogits.isfinite().all())
    assert_close(one.dlogits, other.dlogits, logits, relative=2**-7 if narrow else 1e-6)


@every_loss
def test_the_backends_agree_on_every_mixture_of_what_is_not_a_number(name: str) -> None:
    values = [math.nan, math.inf, -math.inf, 0.0]
    logits = torch.tensor(list(itertools.product(values, repeat=4)))
    for label, aim in ((0, 1), (1, 3), (3, 0)):
        y, target = torch.full((len(logits),), label), torch.full((len(logits),), aim)
        one, other = (run(name, logits, y, target, backend) for backend in ("door", "torch"))
        for field in FIELDS:
            torch.testing.assert_close(getattr(one, field), getattr(other, field), equal_nan=True)


@every_loss
def test_a_gradient_goes_on_through_the_network(name: str) -> None:
    _, formula = LOSSES[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 7, generator=generator).requires_grad_()
    weight = torch.randn(7, 5, generator=generator)
    _, y, target = random_rows(6, 5, 3)
    (expected,) = torch.autograd.grad(formula((x @ weight).tanh(), y, target).sum(), x)
    logits = (x @ weight).tanh()
    (gradient,) = torch.autograd.grad(logits, x, grad_outputs=run(name, logits, y, target).dlogits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_outputs_and_threads() -> None:
    logits, y, target = random_rows(3000, 11, 5)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [run(name, logits, y, target) for name in LOSSES]
        torch.set_num_threads(2)
        shared = [run(name, logits.T.contiguous().T, y, target) for name in LOSSES]
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, shared, strict=True):
        assert all(torch.equal(getattr(one, field), getattr(other, field)) for field in FIELDS)


@pytest.mark.cuda
@every_loss
@pytest.mark.parametrize("classes", [4, 10, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_agrees(cuda: torch.device, name: str, classes: int, dtype: torch.dtype) -> None:
    logits, y, target = random_rows(67, classes, classes, 5.0)
    logits[3, 1], logits[4], y[5] = math.nan, 1.0, -1
    logits = logits.to(dtype)
    here = run(name, logits, y, target)
    there = run(name, logits.to(cuda), y.to(cuda), target.to(cuda))
    assert torch.equal(there.wrong.cpu(), here.wrong)
    torch.testing.assert_close(there.margin.cpu(), here.margin, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(there.loss.cpu(), here.loss, rtol=1e-6, atol=1e-12, equal_nan=True)
    assert_close(
        there.dlogits.cpu(), here.dlogits, logits, relative=1e-6 if dtype == torch.float32 else 2**-7
    )
