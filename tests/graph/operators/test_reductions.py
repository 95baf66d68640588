"""Sums, means, norms and extrema along axes, against numpy and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.reductions import ROWS, CumSum, ReduceL2, ReduceProd
from tests.graph.cases import check_case, named
from tests.graph.graphs import Array, normal, one, run

OF_NUMPY: dict[str, Callable[..., Array]] = {
    "ReduceL1": lambda x, **how: np.abs(x).sum(**how),
    "ReduceL2": lambda x, **how: np.sqrt(np.square(x).sum(**how)),
    "ReduceLogSum": lambda x, **how: np.log(x.sum(**how)),
    "ReduceLogSumExp": lambda x, **how: np.log(np.exp(x).sum(**how)),
    "ReduceMax": np.max,
    "ReduceMean": np.mean,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
    "ReduceSumSquare": lambda x, **how: np.square(x).sum(**how),
}


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize("kind", OF_NUMPY)
@pytest.mark.parametrize(("axes", "kept"), [((1,), True), ((-1, 1), False), ((1, 2, 3), False)])
def test_a_reduction_is_numpy_s(kind: str, axes: tuple[int, ...], kept: bool) -> None:
    x = np.abs(normal(3, 2, 4, 3)) + 0.1 if kind == "ReduceLogSum" else normal(3, 2, 4, 3)
    given: dict[str, Any] = {"keepdims": int(kept)}
    file = one(kind, ("n", 2, 4, 3), np.array(axes, np.int64), **given)
    graph = read(file)
    expected = OF_NUMPY[kind](x, axis=axes, keepdims=kept)
    found = graph.run(torch.from_numpy(x)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(file, x), expected, rtol=1e-5, atol=1e-5)
    assert mixing(graph) == ()


@pytest.mark.parametrize(
    ("exclusive", "reverse", "expected"),
    [
        (False, False, [1, 3, 6]),
        (True, False, [0, 1, 3]),
        (False, True, [6, 5, 3]),
        (True, True, [5, 3, 0]),
    ],
)
def test_sums_up_to_each_place(exclusive: bool, reverse: bool, expected: list[int]) -> None:
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert CumSum(1, exclusive, reverse)(x).tolist() == [expected]
    file = one("CumSum", ("n", 3), np.array(-1), exclusive=int(exclusive), reverse=int(reverse))
    assert read(file).run(x).tolist() == run(file, x.numpy()).tolist() == [expected]


def test_gradients_where_a_formula_divides_by_0() -> None:
    """A norm of 0 has the gradient 0; a product with a 0 has the product of the others there."""
    x = torch.zeros(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(ReduceL2((1,))(x).sum(), x)
    assert gradient.tolist() == [[0.0, 0.0, 0.0]]
    x = torch.tensor([[[2.0, 0.0], [3.0, 5.0]]], requires_grad=True)
    product = ReduceProd((1, 2), keepdims=False)(x)
    assert product.tolist() == [0.0]
    (gradient,) = torch.autograd.grad(product.sum(), x)
    assert gradient.tolist() == [[[0.0, 30.0], [0.0, 0.0]]]


def test_a_reduction_over_the_batch_mixes_or_is_refused() -> None:
    file = one("ReduceMean", (2, 3), np.array([0]), keepdims=1)
    with pytest.raises(InputError, match="logits for each image"):
        read(file)
    with pytest.raises(InputError, match="noop_with_empty_axes=1"):
        read(one("ReduceSum", ("n", 3), noop_with_empty_axes=1))
