"""Normalisation by the values' own statistics, and softmax: against torch and onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.normalisation import LRN, ROWS, GroupNormalization, LayerNormalization, Softmax
from tests.graph.cases import check_case, named, same
from tests.graph.graphs import normal, one, run


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_group_s_statistics_are_its_own(groups: int) -> None:
    x, scale, bias = (torch.from_numpy(normal(*shape)) for shape in ((3, 6, 4, 2), (6,), (6,)))
    found = GroupNormalization(groups, 1e-3)(x, scale, bias)
    torch.testing.assert_close(found, functional.group_norm(x, groups, scale, bias, 1e-3))


def test_a_group_of_one_value_is_its_bias() -> None:
    """torch's own refuses it in training mode; x - mean is 0."""
    bias = torch.from_numpy(normal(4))
    found = GroupNormalization(4)(torch.rand(2, 4, 1), torch.ones(4), bias)
    assert torch.equal(found, bias[None, :, None].expand(2, 4, 1))


def test_an_instance_normalisation_is_one_of_as_many_groups_as_channels() -> None:
    file = one("InstanceNormalization", ("n", 3, 5), normal(3), normal(3, seed=1), epsilon=1e-2)
    operation = read(file).nodes[0].operation
    assert operation == GroupNormalization(3, float(np.float32(1e-2)))
    same(file, 3, 5)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_local_response_is_its_formula(size: int) -> None:
    x = normal(2, 6, 3, 2)
    square = np.pad(np.square(x), ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
    sums = np.stack([square[:, at : at + size].sum(1) for at in range(6)], 1)
    expected = x / (2 + 0.5 / size * sums) ** 0.75
    found = LRN(size, 0.5, 0.75, 2.0)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    file = one("LRN", ("n", 6, 3, 2), size=size, alpha=0.5, beta=0.75, bias=2.0)
    np.testing.assert_allclose(run(file, x), expected, rtol=1e-4)


def test_a_logarithm_of_softmax_is_finite_where_softmax_is_0() -> None:
    x = np.array([[0.0, 500.0, -500.0]], np.float32)
    assert Softmax(1)(torch.from_numpy(x)).tolist() == [[0.0, 1.0, 0.0]]
    found = read(one("LogSoftmax", ("n", 3), axis=1)).run(torch.from_numpy(x))
    assert found.tolist() == [[-500.0, 0.0, -1000.0]]


def test_statistics_over_the_batch_mix_images() -> None:
    assert mixing(read(one("Softmax", ("n", 4), axis=0))) != ()
    assert mixing(read(one("LayerNormalization", (2, 4), normal(2, 4), axis=0))) != ()
    assert mixing(read(one("LayerNormalization", ("n", 4), normal(4), axis=1))) == ()
    assert LayerNormalization(1)(torch.ones(1, 4), torch.ones(4)).tolist() == [[0.0] * 4]


def test_even_sizes_and_other_precisions_are_refused() -> None:
    with pytest.raises(InputError, match="size=2"):
        read(one("LRN", ("n", 4, 2, 2), size=2))
    with pytest.raises(InputError, match="stash_type=16"):
        read(one("LayerNormalization", ("n", 4), normal(4), stash_type=16))


@pytest.mark.parametrize(("opset", "axis"), [(7, 1), (7, 2), (11, 1), (11, -2), (12, 2), (12, 3)])
def test_softmax_before_opset_13_is_over_all_dimensions_from_its_axis_on(opset: int, axis: int) -> None:
    file = one("Softmax", ("n", 4, 3, 2), axis=axis, opset=opset)
    same(file, 4, 3, 2)
    sums = read(file).run(torch.from_numpy(normal(2, 4, 3, 2))).flatten(axis % 4).sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
