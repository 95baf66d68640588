"""Rectifiers: each attribute against onnxruntime, and one slope for all or one for each channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harden.graph import read
from harden.graph.operators.rectifiers import ROWS, Clip, HardSigmoid, LeakyRelu, PRelu, Relu
from tests.graph.cases import check_case, named
from tests.graph.graphs import Array, normal, one, run


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


def test_values_by_hand() -> None:
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert Relu()(x).tolist() == [0, 0, 0, 0.5, 2]
    assert LeakyRelu(0.25)(x).tolist() == [-0.5, -0.125, 0, 0.5, 2]
    assert Clip(-1.0, 0.25)(x).tolist() == [-1, -0.5, 0, 0.25, 0.25]
    assert Clip(None, 0.25)(x).tolist() == [-2, -0.5, 0, 0.25, 0.25]
    assert Clip()(x) is x
    assert HardSigmoid(0.5, 0.25)(x).tolist() == [0, 0, 0.25, 0.5, 1]
    assert PRelu()(x, torch.tensor(3.0)).tolist() == [-6, -1.5, 0, 0.5, 2]


@pytest.mark.parametrize(
    ("slopes", "operation"),
    [
        (np.full((4, 1, 1), 0.25, np.float32), LeakyRelu(0.25)),
        (np.array([0.0], np.float32), LeakyRelu(0.0)),
        (np.array([1.5], np.float32), PRelu()),
        (np.array([-0.25], np.float32), PRelu()),
        (np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(4, 1, 1), PRelu()),
    ],
)
def test_one_slope_from_0_to_1_is_a_leaky_rectifier(slopes: Array, operation: LeakyRelu | PRelu) -> None:
    file, x = one("PRelu", ("n", 4, 3, 2), slopes), normal(2, 4, 3, 2)
    graph = read(file)
    assert graph.nodes[0].operation == operation
    np.testing.assert_allclose(graph.run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-6)


def test_ends_that_cross_give_the_higher() -> None:
    file = one("Clip", ("n", 5), np.float32(0.4), np.float32(-0.3))
    x = normal(3, 5)
    assert np.array_equal(read(file).run(torch.from_numpy(x)).numpy(), run(file, x))
