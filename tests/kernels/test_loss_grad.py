"""Losses of logits and their gradients: against autograd in float64, and compiled against plain torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from harden.errors import InputError
from harden.kernels import loss_grad, loss_grad_reference
from harden.kernels.loading import Backend
from harden.kernels.loss_grad import (
    LossGrad,
    cross_entropy_grad_,
    dlr_grad_,
    margin_grad_,
    targeted_dlr_grad_,
)
from harden.losses import dlr, errs, margin, targeted_dlr

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]

# By name: the least number of classes, and the loss as torch differentiates it.
LOSSES: dict[str, tuple[int, Formula]] = {
    "cross-entropy": (1, lambda z, y, t: functional.cross_entropy(z, y, reduction="none")),
    "margin": (1, lambda z, y, t: margin(z, y)),
    "dlr": (3, lambda z, y, t: dlr(z, y)),
    "targeted dlr": (4, targeted_dlr),
}
KINDS = ["cross-entropy", "margin", "dlr", "targeted dlr"]
FIELDS = ["loss", "margin", "wrong", "dlogits"]

both_backends = pytest.mark.parametrize("backend", ["door", "torch"])
every_loss = pytest.mark.parametrize("name", LOSSES)


@contextmanager
def _in(backend: str) -> Iterator[None]:
    """Runs the doors on plain torch where that is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if backend == "torch":
            patch.setattr(loss_grad, "backend", lambda device: Backend("torch", "asked for"))
        yield


def _run(
    name: str, logits: Tensor, y: Tensor, target: Tensor | None = None, backend: str = "door"
) -> LossGrad:
    out = LossGrad.like(logits)
    for field in FIELDS:
        getattr(out, field).fill_(1)
    with _in(backend):
        if name == "cross-entropy":
            cross_entropy_grad_(out, logits, y)
        elif name == "margin":
            margin_grad_(out, logits, y)
        elif name == "dlr":
            dlr_grad_(out, logits, y)
        else:
            targeted_dlr_grad_(out, logits, y, y if target is None else target)
    return out


def _random(n: int, classes: int, seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, classes, generator=generator)
    y = torch.randint(classes, (n,), generator=generator)
    return logits, y, (y + 1 + seed % max(1, classes - 1)) % classes


def _assert_close(one: Tensor, other: Tensor, logits: Tensor, *, relative: float = 1e-6) -> None:
    """Within `relative` of each row's largest number, and what float64 rounds off terms that cancel."""
    bound = relative * other.double().abs().amax(1) + 1e-15
    if logits.shape[1] > 2 and len(logits):
        ordered = logits.double().topk(3).values
        bound += 4e-15 / (ordered[:, 0] - ordered[:, 2] + 1e-12).nan_to_num(1.0)
    distance = (one.double() - other.double()).abs().amax(1)
    assert bool((distance <= bound).all()), (distance, bound)


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
    logits, y, target = _random(64, classes, classes, scale)
    exact = logits.double().requires_grad_()
    value = formula(exact, y, target)
    (gradient,) = torch.autograd.grad(value.sum(), exact)
    out = _run(name, logits, y, target, backend)
    torch.testing.assert_close(out.loss, value.detach().float(), rtol=1e-6, atol=1e-12)
    _assert_close(out.dlogits, gradient, logits)
    assert torch.equal(out.wrong, errs(logits, y))
    if classes > 1:
        assert torch.equal(out.margin, margin(logits, y))


NUMBERS = st.one_of(
    st.integers(-3, 3).map(float),  # ties
    st.floats(-80.0, 80.0, width=32),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e38, -3e38, 1e-40, -0.0]),
)


@given(st.data(), st.sampled_from(KINDS), st.integers(1, 5), st.integers(0, 4), st.booleans())
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
    one, other = (_run(name, logits, y, target, backend) for backend in ("door", "torch"))
    assert torch.equal(one.wrong, other.wrong)
    torch.testing.assert_close(one.margin, other.margin, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-6, atol=1e-12, equal_nan=True)
    assert one.dlogits.dtype == logits.dtype
    assert bool(one.dlogits.isfinite().all())
    _assert_close(one.dlogits, other.dlogits, logits, relative=2**-7 if narrow else 1e-6)


@both_backends
@every_loss
def test_what_is_not_a_number_is_reported_and_pushes_nowhere(backend: str, name: str) -> None:
    logits, y, target = _random(5, 5, 1)
    clean = _run(name, logits, y, target, backend)
    logits[1, 2], y[2], logits[3, y[3]] = math.nan, 7, math.inf
    out = _run(name, logits, y, target, backend)
    assert out.loss.isnan().tolist()[:3] == [False, True, True]
    assert out.margin.isnan().tolist() == [False, True, True, False, False]
    assert out.wrong.tolist()[1:4] == [True, True, True]
    assert out.dlogits[1:4].count_nonzero() == 0
    for field in FIELDS:
        assert torch.equal(getattr(out, field)[[0, 4]], getattr(clean, field)[[0, 4]])


@every_loss
def test_the_backends_agree_on_every_mixture_of_what_is_not_a_number(name: str) -> None:
    values = [math.nan, math.inf, -math.inf, 0.0]
    logits = torch.tensor(list(itertools.product(values, repeat=4)))
    for label, aim in ((0, 1), (1, 3), (3, 0)):
        y, target = torch.full((len(logits),), label), torch.full((len(logits),), aim)
        one, other = (_run(name, logits, y, target, backend) for backend in ("door", "torch"))
        for field in FIELDS:
            torch.testing.assert_close(getattr(one, field), getattr(other, field), equal_nan=True)


@both_backends
def test_masked_classes_leave_the_others_their_gradient(backend: str) -> None:
    """A logit of minus infinity is how some networks leave a class out."""
    logits, y = torch.tensor([[1.0, -math.inf, 0.5, 0.25]]), torch.tensor([0])
    rest = torch.tensor([[1.0, 0.5, 0.25]])
    for name in ("cross-entropy", "margin", "dlr"):
        out, expected = _run(name, logits, y, backend=backend), _run(name, rest, y, backend=backend)
        torch.testing.assert_close(out.loss, expected.loss)
        torch.testing.assert_close(out.dlogits[:, [0, 2, 3]], expected.dlogits)
        assert float(out.dlogits[0, 1]) == 0.0
        assert float(out.dlogits.abs().sum()) > 0


@both_backends
@pytest.mark.parametrize("gap", [20.0, 60.0, 200.0, 1e4, 3e38])
def test_a_saturated_cross_entropy_has_no_nan_and_keeps_its_balance(backend: str, gap: float) -> None:
    """p_y - 1 in float32 is zero from a gap of 17 on; the sum of the others' probabilities is not."""
    logits = torch.tensor([[gap, 0.0, -1.0], [-gap, 0.0, 0.0]])
    out = _run("cross-entropy", logits, torch.tensor([0, 0]), backend=backend)
    assert out.loss[1].item() == pytest.approx(gap + math.log(2))
    assert out.dlogits[1].tolist() == pytest.approx([-1.0, 0.5, 0.5])
    expected = [-math.exp(-gap) - math.exp(-gap - 1), math.exp(-gap), math.exp(-gap - 1)]
    assert out.dlogits[0].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-44)
    assert out.wrong.tolist() == [False, True]


@both_backends
def test_classes_that_tie_share_a_gradient(backend: str) -> None:
    logits, y = torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]]), torch.tensor([0, 1])
    out = _run("margin", logits, y, backend=backend)
    assert out.loss.tolist() == [2.0, 0.0]
    third = pytest.approx(1 / 3)
    assert out.dlogits.tolist() == [[-1.0, 0.5, 0.5, 0.0], [third, -1.0, third, third]]
    assert out.wrong.tolist() == [True, True]  # of four equal logits the first is the answer
    for name in ("dlr", "targeted dlr"):
        steep = _run(name, logits, y, torch.tensor([1, 0]), backend).dlogits
        assert bool(steep.isfinite().all())
        assert bool((steep[torch.arange(2), y] < 0).all())


def test_one_of_two_equal_logits_is_the_answer() -> None:
    logits = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert _run("margin", logits, torch.tensor([0, 1])).wrong.tolist() == [False, True]


@both_backends
def test_one_class_has_no_other(backend: str) -> None:
    logits, y = torch.tensor([[3.0]]), torch.tensor([0])
    cross_entropy, lead = (_run(name, logits, y, backend=backend) for name in ("cross-entropy", "margin"))
    assert (cross_entropy.loss.tolist(), cross_entropy.dlogits.tolist()) == ([0.0], [[0.0]])
    assert (lead.loss.tolist(), lead.dlogits.tolist()) == ([-math.inf], [[0.0]])
    assert not bool(lead.wrong)


@every_loss
def test_a_gradient_goes_on_through_the_network(name: str) -> None:
    _, formula = LOSSES[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 7, generator=generator).requires_grad_()
    weight = torch.randn(7, 5, generator=generator)
    _, y, target = _random(6, 5, 3)
    (expected,) = torch.autograd.grad(formula((x @ weight).tanh(), y, target).sum(), x)
    logits = (x @ weight).tanh()
    (gradient,) = torch.autograd.grad(logits, x, grad_outputs=_run(name, logits, y, target).dlogits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_outputs_and_threads() -> None:
    logits, y, target = _random(3000, 11, 5)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [_run(name, logits, y, target) for name in KINDS]
        torch.set_num_threads(2)
        shared = [_run(name, logits.T.contiguous().T, y, target) for name in KINDS]
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, shared, strict=True):
        assert all(torch.equal(getattr(one, field), getattr(other, field)) for field in FIELDS)


def _refused(**changed: Any) -> dict[str, Any]:
    logits = torch.zeros(2, 4)
    arguments = {"out": LossGrad.like(logits), "logits": logits, "y": torch.zeros(2, dtype=torch.int64)}
    return arguments | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"logits": torch.zeros(2, 4, dtype=torch.float64)},
        {"logits": torch.zeros(4)},
        {"logits": torch.zeros(2, 0)},
        {"logits": torch.zeros(2, 5)},
        {"logits": torch.zeros(2, 4, dtype=torch.bfloat16)},
        {"y": torch.zeros(2)},
        {"y": torch.zeros(3, dtype=torch.int64)},
        {"y": torch.zeros(2, dtype=torch.int64, device="meta")},
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, Any]) -> None:
    for door in (cross_entropy_grad_, margin_grad_, dlr_grad_):
        with pytest.raises(InputError) as caught:
            door(**_refused(**changed))
        assert caught.value.instead


def test_a_ratio_of_too_few_classes_is_refused() -> None:
    logits, y = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(InputError, match="K >= 3"):
        dlr_grad_(LossGrad.like(logits), logits, y)
    with pytest.raises(InputError, match="K >= 4"):
        targeted_dlr_grad_(LossGrad.like(torch.zeros(1, 3)), torch.zeros(1, 3), y, y)


def _raw(**changed: Any) -> list[Any]:
    logits, y = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)
    out = LossGrad.like(logits)
    arguments = {field: getattr(out, field) for field in FIELDS}
    arguments |= {"logits": logits, "y": y, "target": y, "kind": 0}
    return list((arguments | changed).values())


RAW_REFUSED: dict[str, dict[str, Any]] = {
    "loss and margin have to be float32": {"loss": torch.zeros(2, dtype=torch.float64)},
    "wrong has to be bool": {"wrong": torch.zeros(2)},
    "both float32 or both bfloat16": {"logits": torch.zeros(2, 4, dtype=torch.bfloat16)},
    "have to be int64": {"target": torch.zeros(2)},
    "same shape": {"logits": torch.zeros(2, 5)},
    "the shape \\(N,\\)": {"y": torch.zeros(3, dtype=torch.int64)},
    "has to be contiguous": {"logits": torch.zeros(4, 2).T},
    "no loss of this kind": {"kind": 4},
    "needs 3 classes": {"logits": torch.zeros(2, 2), "dlogits": torch.zeros(2, 2), "kind": 2},
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("message", RAW_REFUSED)
def test_the_compiled_operation_checks_for_itself(message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        torch.ops.harden.loss_grad_(*_raw(**RAW_REFUSED[message]))


@pytest.mark.usefixtures("native")
def test_the_compiled_operation_refuses_shared_memory() -> None:
    logits, column = torch.zeros(2, 4), torch.zeros(2)
    for shared in ({"logits": logits, "dlogits": logits}, {"loss": column, "margin": column}):
        with pytest.raises(RuntimeError, match="share memory"):
            torch.ops.harden.loss_grad_(*_raw(**shared))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("kind", range(4))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own tracing
def test_opcheck_passes(kind: int) -> None:
    packet = torch.ops.harden.loss_grad_
    outcome = torch.library.opcheck(packet.default, tuple(_raw(kind=kind)))
    assert set(outcome.values()) == {"SUCCESS"}
    written = [argument.name for argument in packet.default._schema.arguments if argument.is_write]
    assert written == FIELDS
    assert loss_grad_reference.TARGETED_DLR == 3


@pytest.mark.cuda
@every_loss
@pytest.mark.parametrize("classes", [4, 10, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_agrees(cuda: torch.device, name: str, classes: int, dtype: torch.dtype) -> None:
    logits, y, target = _random(67, classes, classes, 5.0)
    logits[3, 1], logits[4], y[5] = math.nan, 1.0, -1
    logits = logits.to(dtype)
    here = _run(name, logits, y, target)
    there = _run(name, logits.to(cuda), y.to(cuda), target.to(cuda))
    assert torch.equal(there.wrong.cpu(), here.wrong)
    torch.testing.assert_close(there.margin.cpu(), here.margin, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(there.loss.cpu(), here.loss, rtol=1e-6, atol=1e-12, equal_nan=True)
    _assert_close(
        there.dlogits.cpu(), here.dlogits, logits, relative=1e-6 if dtype == torch.float32 else 2**-7
    )
