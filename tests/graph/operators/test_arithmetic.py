"""Arithmetic and elementary functions: each against onnxruntime and numpy, with its derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harden.errors import InputError
from harden.graph import read
from harden.graph.operators import arithmetic
from harden.graph.operators.arithmetic import ROWS, Add, Mask, Pow
from tests.graph.cases import check_case, named
from tests.graph.graphs import normal, one, run


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [
        ("Abs", 0.5, 1.0),
        ("Erf", math.erf(0.5), 2 / math.sqrt(math.pi) * math.exp(-0.25)),
        ("Exp", math.exp(0.5), math.exp(0.5)),
        ("Log", math.log(0.5), 2.0),
        ("Neg", -0.5, -1.0),
        ("Reciprocal", 2.0, -4.0),
        ("Sign", 1.0, 0.0),
        ("Sqrt", math.sqrt(0.5), 0.5 / math.sqrt(0.5)),
    ],
)
def test_a_function_and_its_derivative_at_one_half(name: str, value: float, slope: float) -> None:
    x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    operation = getattr(arithmetic, name)()
    (gradient,) = torch.autograd.grad(operation(x), x)
    assert float(operation(x.detach())) == pytest.approx(value)
    assert float(gradient) == pytest.approx(slope)


@pytest.mark.parametrize("kind", ["Reciprocal", "Sign"])
def test_functions_without_a_case(kind: str) -> None:
    file, x = one(kind, ("n", 5)), normal(3, 5)
    np.testing.assert_allclose(read(file).run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-6)


def test_a_sum_with_minus_infinity_is_a_mask() -> None:
    """It has no bound rule, so it is an operation of its own."""
    finite = one("Add", ("n", 2), np.array([1.0, -1.0], np.float32))
    masked = one("Add", ("n", 2), np.array([1.0, -np.inf], np.float32))
    assert read(finite).nodes[0].operation == Add()
    assert read(masked).nodes[0].operation == Mask()
    assert read(masked).run(torch.ones(1, 2)).tolist() == [[2.0, -math.inf]]


def test_a_power_has_one_constant_exponent() -> None:
    assert read(one("Pow", ("n", 2), np.float32(3))).nodes[0].operation == Pow(3.0)
    with pytest.raises(InputError, match="input 1 of 2 numbers instead of one"):
        read(one("Pow", ("n", 2), np.array([2, 3], np.float32)))
