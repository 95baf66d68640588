"""Rules of layers with weights: value, transpose, interval and charge; what has no sound rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harden.bounds.rules.linear_layers import scaled
from harden.graph.operators.affine_layers import BatchNormalization, Conv, ConvTranspose, Gemm, MatMul
from tests.bounds.rules.derived_rules import affine, check_affine, derived, label, normal

STATISTICS = (normal(3), normal(3, seed=1), normal(3, seed=2), normal(3, seed=3).abs() + 0.1)


@settings(max_examples=20, deadline=None)
@given(
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    kernel=st.integers(1, 3),
    group=st.sampled_from([1, 2]),
)
def test_a_convolution_of_any_geometry(
    stride: int, dilation: int, pads: list[int], kernel: int, group: int
) -> None:
    operation = Conv((stride, 1), tuple(pads), (1, dilation), group)
    check_affine(operation, (None, normal(4, 2 // group, kernel, kernel), normal(4, seed=1)), (2, 6, 7))


@pytest.mark.parametrize("axes", [1, 3])
def test_convolutions_in_one_and_three_dimensions(axes: int) -> None:
    operation = Conv((2,) * axes, (1,) * axes + (0,) * axes, (1,) * axes)
    rule = check_affine(operation, (None, normal(3, 2, *(2,) * axes)), (2, *(4,) * axes))
    assert rule.terms == 2 * 2**axes
    assert rule.through is None


@pytest.mark.parametrize(
    ("operation", "bias"),
    [
        (Gemm(), normal(3, seed=1)),
        (Gemm(alpha=-2.5, beta=0.5), normal(1, 3, seed=1)),
        (Gemm(trans_b=True), None),
        (MatMul(), None),
    ],
    ids=label,
)
def test_products_with_a_matrix(operation: Gemm | MatMul, bias: Tensor | None) -> None:
    weight = normal(5, 3)
    weight = weight.mT if operation == Gemm(trans_b=True) else weight
    rule = check_affine(operation, (None, weight) if bias is None else (None, weight, bias), (5,))
    assert rule.factor == (2.5 if operation == Gemm(alpha=-2.5, beta=0.5) else 1.0)


def test_a_transposed_convolution_and_a_norm() -> None:
    operation = ConvTranspose((2, 1), (0, 1, 1, 0), (1, 2), 2, (1, 0))
    rule = check_affine(operation, (None, normal(4, 3, 2, 3), normal(6, seed=1)), (4, 3, 4))
    assert rule.terms == 2 * 2 * 3
    check_affine(BatchNormalization(1e-3), (None, *STATISTICS), (3, 2, 4))


def test_a_product_with_numbers_that_broadcast() -> None:
    slope, offset = normal(3, 1, 1), normal(1, 3, 4, 2, seed=1)
    rule = scaled(slope, offset, offset.abs(), (1, 4, 2), (3, 4, 2))
    x = normal(5, 1, 4, 2, seed=2)
    torch.testing.assert_close(rule.linear(x) + rule.offset, slope * x + offset)
    coefficients = normal(2, 3, 4, 2, seed=3)
    (found,) = rule.transpose(coefficients)
    torch.testing.assert_close(found, (coefficients * slope).sum(1, keepdim=True))
    assert rule.through is None  # the shape changes


@pytest.mark.parametrize(
    ("operation", "constants", "sizes"),
    [
        (Gemm(alpha=0.0), (None, normal(3, 3)), ((3,),)),
        (Gemm(trans_b=True), (None, None), ((3,), (3,))),
        (Gemm(), (None, normal(3, 3), None), ((3,), (3,))),
        (Gemm(trans_b=True), (normal(1, 3), None), ((3,),)),
        (MatMul(), (None, normal(2, 3, 3)), ((3, 3),)),
        (Conv((1,), (0, 0), (1,)), (normal(1, 2, 3), None), ((2, 1),)),
        (BatchNormalization(), (None, *STATISTICS[:3], -STATISTICS[3]), ((3, 2),)),
        (BatchNormalization(1e-42), (None, *STATISTICS[:3], torch.zeros(3).double()), ((3, 2),)),
    ],
    ids=label,
)
def test_what_has_no_sound_rule(
    operation: object, constants: tuple[Tensor | None, ...], sizes: tuple[tuple[int, ...], ...]
) -> None:
    """A factor 0, weights that vary, products of batches, roots of what may be flushed to 0."""
    assert derived(operation, constants, *sizes) is None


def test_the_mean_of_a_norm_counts_as_a_weight() -> None:
    """A slope of 1e-30 may become 0 before it is multiplied with a mean of 1e30."""
    large = torch.full((3,), 1e30, dtype=torch.float64)
    rule = affine(BatchNormalization(), (None, STATISTICS[0], STATISTICS[1], large, STATISTICS[3]), (3, 2))
    assert float(rule.largest_weight) == 1e30
