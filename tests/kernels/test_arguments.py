"""Wrong arguments are refused at the door in words, and in the compiled library with RuntimeError."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden import kernels
from harden.errors import InputError
from harden.kernels.arguments import box_inwards
from harden.kernels.memory_layout import share_memory

X = torch.full((2, 3, 4, 4), 0.5)
ALPHA, EPS = torch.tensor(0.1), torch.tensor(0.2)


def _arguments(**changed: object) -> list[object]:
    arguments: dict[str, object] = {
        "x_adv": X.clone(),
        "x": X.clone(),
        "grad": torch.ones_like(X),
        "alpha": ALPHA,
        "eps": EPS,
        "low": 0.0,
        "high": 1.0,
    }
    return list((arguments | changed).values())


REFUSED: dict[str, dict[str, object]] = {
    "x_adv is float64": {"x_adv": X.double()},
    "x is bfloat16": {"x": X.bfloat16()},
    "x_adv has another shape": {"x_adv": X[:1].clone()},
    "grad has another shape": {"grad": X[..., :2].clone()},
    "no axis for examples": {"x_adv": EPS.clone(), "x": EPS.clone(), "grad": EPS.clone()},
    "x on another device": {"x": X.to("meta")},
    "eps on another device": {"eps": EPS.to("meta")},
    "alpha is float64": {"alpha": ALPHA.double()},
    "alpha has a third of the elements": {"alpha": torch.rand(6)},
    "eps is per channel in one axis": {"eps": torch.rand(3)},
    "low above high": {"low": 1.0, "high": 0.0},
    "low is NaN": {"low": math.nan},
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_in_three_parts(case: str) -> None:
    for step in (kernels.linf_step_, kernels.l2_step_):
        with pytest.raises(InputError) as caught:
            step(*_arguments(**REFUSED[case]))  # type: ignore[arg-type]
        assert caught.value.seen
        assert caught.value.expected
        assert caught.value.instead


def test_an_integer_gradient_is_refused() -> None:
    with pytest.raises(InputError, match="floating-point"):
        kernels.linf_step_(*_arguments(grad=torch.ones_like(X, dtype=torch.int64)))  # type: ignore[arg-type]


def test_sparse_tensors_are_refused() -> None:
    with pytest.raises(InputError, match="dense"):
        kernels.linf_step_(*_arguments(grad=X.to_sparse()))  # type: ignore[arg-type]


def test_a_budget_per_channel_is_for_linf_alone() -> None:
    per_channel = torch.full((1, 3), 0.1)
    kernels.linf_step_(*_arguments(eps=per_channel))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"eps is \(1, 3\)"):
        kernels.l2_step_(*_arguments(eps=per_channel))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x", "grad"])
def test_shared_memory_is_refused(name: str) -> None:
    x_adv = X.clone()
    with pytest.raises(InputError, match="shares memory"):
        kernels.linf_step_(*_arguments(**{"x_adv": x_adv, name: x_adv.detach()}))  # type: ignore[arg-type]
    assert torch.equal(x_adv, X)


def test_neighbours_in_one_storage_do_not_share_memory() -> None:
    both = torch.zeros(2, 4)
    assert share_memory(both[0], both[0])
    assert share_memory(both[0], both.reshape(-1)[3:7])
    assert not share_memory(both[0], both[1])


@given(st.floats(-1e30, 1e30), st.floats(0.0, 1e30))
def test_the_box_is_rounded_inwards_to_float32(low: float, width: float) -> None:
    high = low + width
    try:
        inner_low, inner_high = box_inwards(low, high)
    except InputError:
        # No float32 number lies between them.
        assert float(torch.tensor(low, dtype=torch.float64).float()) != low
        return
    assert low <= inner_low <= inner_high <= high
    for limit in (inner_low, inner_high):
        assert Fraction(torch.tensor(limit, dtype=torch.float32).item()) == Fraction(limit)
    ulp = 2**-23
    assert inner_low - low <= ulp * abs(low) + 2**-149
    assert high - inner_high <= ulp * abs(high) + 2**-149


def test_an_unbounded_box_stays_unbounded() -> None:
    assert box_inwards(-math.inf, math.inf) == (-math.inf, math.inf)
    assert box_inwards(0.0, 1e300) == (0.0, torch.finfo(torch.float32).max)


def _strided(tensor: Tensor) -> Tensor:
    return torch.stack([tensor, tensor], dim=-1)[..., 0]


RAW_REFUSED: dict[str, dict[str, object]] = {
    "every tensor has to be float32": {"grad": X.double()},
    "the same shape": {"x": X[:1].clone()},
    "1 element or the shape": {"eps": torch.rand(6)},
    "alpha and eps have to be contiguous": {"alpha": torch.rand(4)[::2]},
    "all contiguous or all channels_last": {"x": X.contiguous(memory_format=torch.channels_last)},
    "all contiguous": {"grad": _strided(X)},
    "low <= high": {"low": 1.0, "high": 0.0},
    "float32 numbers": {"low": 0.1},
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("message", RAW_REFUSED)
def test_the_compiled_operations_check_for_themselves(message: str) -> None:
    for operation in (torch.ops.harden.linf_step_, torch.ops.harden.l2_step_):
        arguments = _arguments(**RAW_REFUSED[message])
        before = arguments[0].clone()  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match=message):
            operation(*arguments)
        assert torch.equal(arguments[0], before)  # type: ignore[arg-type]


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", ["x", "grad"])
def test_the_compiled_operations_refuse_shared_memory(name: str) -> None:
    storage = torch.zeros(X.numel() + 1)
    x_adv, other = storage[:-1].view_as(X), storage[1:].view_as(X)
    for operation in (torch.ops.harden.linf_step_, torch.ops.harden.l2_step_):
        with pytest.raises(RuntimeError, match="share memory"):
            operation(*_arguments(**{"x_adv": x_adv, name: other}))


@pytest.mark.usefixtures("native")
def test_refusals_leak_no_tensor() -> None:
    x = X.clone()
    for _ in range(3):
        with pytest.raises(RuntimeError, match="float32"):
            torch.ops.harden.linf_step_(x, x.double(), x, ALPHA, EPS, 0.0, 1.0)
    assert x._use_count() == 1  # type: ignore[attr-defined]
