"""Smooth activations: each against onnxruntime, with other parameters, far from 0 and by its formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harden.errors import InputError
from harden.graph import read
from harden.graph.operators.smooth_activations import (
    ROWS,
    Celu,
    Elu,
    Gelu,
    HardSwish,
    Mish,
    Selu,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
)
from tests.graph.cases import check_case, named
from tests.graph.graphs import one, run

FORMULAS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = {
    "sigmoid": (Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
    "tanh": (Tanh(), math.tanh),
    "hard swish": (HardSwish(), lambda x: x * min(max(x / 6 + 0.5, 0), 1)),
    "gelu": (Gelu(), lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2)))),
    "gelu by tanh": (
        Gelu("tanh"),
        lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "elu": (Elu(0.5), lambda x: x if x > 0 else 0.5 * math.expm1(x)),
    "selu": (Selu(1.5, 2.0), lambda x: 2 * x if x > 0 else 3 * math.expm1(x)),
    "celu": (Celu(2.0), lambda x: x if x > 0 else 2 * math.expm1(x / 2)),
    "softplus": (Softplus(), lambda x: math.log1p(math.exp(x))),
    "softsign": (Softsign(), lambda x: x / (1 + abs(x))),
    "mish": (Mish(), lambda x: x * math.tanh(math.log1p(math.exp(x)))),
}


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize("name", FORMULAS)
def test_an_activation_is_its_formula(name: str) -> None:
    operation, formula = FORMULAS[name]
    points = [-30.0, -4.0, -1.5, -1e-3, 0.0, 1e-3, 0.7, 3.5, 25.0]
    found = operation(torch.tensor(points, dtype=torch.float64)).tolist()
    assert found == pytest.approx([formula(x) for x in points], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("Elu", {"alpha": 0.3}),
        ("Celu", {"alpha": 2.5}),
        ("Selu", {}),
        ("Selu", {"alpha": 0.5, "gamma": 2.0}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("Mish", {}),
    ],
)
def test_its_parameters_are_the_file_s(kind: str, attributes: dict[str, Any]) -> None:
    """On values up to 50, where torch's own softplus would be cut to x."""
    file = one(kind, ("n", 201), **attributes)
    x = np.linspace(-50, 50, 201, dtype=np.float32)[None]
    found = read(file).run(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, run(file, x), rtol=1e-5, atol=1e-6)


def test_another_approximation_is_refused() -> None:
    assert read(one("Gelu", ("n", 4), opset=20, approximate="tanh")).nodes[0].operation == Gelu("tanh")
    with pytest.raises(InputError, match="approximate=sigmoid"):
        read(one("Gelu", ("n", 4), opset=20, approximate="sigmoid"))
