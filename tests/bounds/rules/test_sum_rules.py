"""Rules of sums, differences, means and products with constants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harden.bounds import Program
from harden.errors import InputError
from harden.graph import read
from harden.graph.operators.arithmetic import Add, Div, Mul, Neg, Sub
from harden.graph.operators.reductions import CumSum, ReduceMean, ReduceSum
from tests.bounds.networks import Builder
from tests.bounds.rules.derived_rules import affine, check_affine, derived, label, normal

MAP = (2, 3, 4)
CASES: tuple[tuple[object, tuple[Tensor | None, ...], tuple[tuple[int, ...], ...]], ...] = (
    (Add(), (None, None), (MAP, MAP)),
    (Add(), (None, None), (MAP, (2, 1, 1))),
    (Add(), (normal(2, 1, 1), None), (MAP,)),
    (Add(), (None, normal(3, 1)), ((1, 4),)),
    (Sub(), (None, None), (MAP, MAP)),
    (Sub(), (normal(3, 4), None), (MAP,)),
    (Sub(), (None, normal(3, 4)), (MAP,)),
    (Neg(), (None,), (MAP,)),
    (Mul(), (normal(2, 1, 1), None), (MAP,)),
    (Mul(), (None, normal(5, 1)), ((1, 4),)),
    (Div(), (None, normal(3, 4).abs() + 0.5), (MAP,)),
    (ReduceSum((1, 3), False), (None,), (MAP,)),
    (ReduceMean((2, 3)), (None,), (MAP,)),
    (CumSum(2), (None,), (MAP,)),
    (CumSum(1, exclusive=True, reverse=True), (None,), (MAP,)),
)


@pytest.mark.parametrize(("operation", "constants", "sizes"), CASES, ids=label)
def test_the_rule_is_the_operation(
    operation: object, constants: tuple[Tensor | None, ...], sizes: tuple[tuple[int, ...], ...]
) -> None:
    check_affine(operation, constants, *sizes)


@pytest.mark.parametrize(
    ("operation", "constants", "sizes"),
    [
        (Mul(), (None, None), ((3,), (3,))),
        (Div(), (normal(3), None), ((3,),)),
        (Div(), (None, None), ((3,), (3,))),
        (Div(), (None, torch.tensor([1.0, 1e-39, 1.0], dtype=torch.float64)), ((3,),)),
        (Div(), (None, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)), ((3,),)),
    ],
    ids=label,
)
def test_products_of_values_and_divisors_that_may_be_0_have_no_rule(
    operation: object, constants: tuple[Tensor | None, ...], sizes: tuple[tuple[int, ...], ...]
) -> None:
    assert derived(operation, constants, *sizes) is None


def test_a_mean_counts_its_terms_and_its_factor() -> None:
    """The sum may overflow where the mean does not."""
    mean, whole = affine(ReduceMean((2, 3)), (None,), MAP), affine(ReduceSum((2, 3)), (None,), MAP)
    assert (mean.terms, whole.terms) == (12, 12)
    assert (mean.factor, whole.factor) == (1 / 12, 1.0)
    large = torch.full((1, *MAP), 1e38, dtype=torch.float64)
    assert not bool(mean.charge((large, large)).isfinite().any())
    assert bool(mean.charge((large / 20, large / 20)).isfinite().all())


def test_what_divides_by_a_denormal_is_refused() -> None:
    net = Builder((6,))
    net.dense(6, 4)
    net.add("Div", np.array([1, 1e-40, 1, 1], dtype=np.float32))
    with pytest.raises(InputError, match=r"Div \("):
        Program.of(read(net.model()))
