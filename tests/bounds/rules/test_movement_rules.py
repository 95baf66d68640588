"""Rules of operations that move values, and join constants to them: exact, and nothing is rounded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.bounds.rules import BOUND_RULES, OperationInputs
from harden.graph.operators.comparisons import Where
from harden.graph.operators.indexing import Gather, Slice, Trilu
from harden.graph.operators.interpolation import Interpolate
from harden.graph.operators.padding import Pad
from harden.graph.operators.reshaping import Expand, Reshape, Transpose
from harden.graph.operators.variadic import Concat, Stack
from tests.bounds.rules.derived_rules import LIKE, affine, check_affine, derived, label, normal

Case = tuple[object, tuple[Tensor | None, ...], tuple[tuple[int, ...], ...]]
MOVED: tuple[Case, ...] = (
    (Gather(1, (2, 0, 2), (3,)), (None,), ((3, 2),)),
    (Slice((2,), (3,), (0,), (-2,)), (None,), ((2, 4),)),
    (Trilu(1, False), (None,), ((3, 3),)),
    (Reshape((-1, 6)), (None,), ((2, 3),)),
    (Transpose((0, 2, 1)), (None,), ((2, 3),)),
    (Expand((-1, 4, 3)), (None, None), ((1, 3), (1, 3))),
    (Pad((0, 0, 1, 0, 0, -1), 2.5), (None,), ((2, 3),)),
    (Concat(1), (None, None), ((2, 3), (1, 3))),
    (Stack(), (None, normal(1, 3), None), ((2, 3), (2, 3))),
    (Where(), (torch.tensor([[True, False, True]]), None, normal(2, 3)), ((2, 3),)),
    (Where(), (torch.tensor([[True], [False]]), None, None), ((2, 3), (2, 3))),
)


@pytest.mark.parametrize(("operation", "constants", "sizes"), MOVED, ids=label)
def test_the_rule_is_the_operation_and_rounds_nothing(
    operation: object, constants: tuple[Tensor | None, ...], sizes: tuple[tuple[int, ...], ...]
) -> None:
    rule = check_affine(operation, constants, *sizes)
    assert rule.terms == 0


def test_constants_are_joined_to_each_image() -> None:
    rule = affine(Concat(1), (normal(1, 2, 3), None), (1, 3))
    x = normal(4, 1, 3, seed=1)
    lower, upper = rule.interval((x, x))
    torch.testing.assert_close(lower, torch.cat([normal(1, 2, 3).expand(4, 2, 3), x], 1))
    assert torch.equal(lower, upper)


def test_an_interpolation_is_bounded_where_float32_holds_its_shares() -> None:
    exact = Interpolate(1, (0, 0, 1), (0, 1, 1), (0.0, 0.5, 0.0), exact=True)
    rule = check_affine(exact, (None,), (2, 3))
    assert rule.terms > 0
    third = Interpolate(1, (0, 0, 1), (0, 1, 1), (0.0, 1 / 3, 0.0), exact=False)
    assert derived(third, (None,), (2, 3)) is None


CONDITION = torch.tensor([True, False, True])


@pytest.mark.parametrize(
    ("operation", "constants"),
    [
        (Stack(), (None, torch.tensor([[1.0, torch.inf, 0.0]], dtype=torch.float64))),
        (Where(), (CONDITION, None, torch.full((3,), -torch.inf, dtype=torch.float64))),
    ],
    ids=label,
)
def test_infinite_constants_have_no_rule(operation: object, constants: tuple[Tensor | None, ...]) -> None:
    """0 times infinity is NaN."""
    assert derived(operation, constants, (3,)) is None


def test_a_choice_that_depends_on_the_images_has_no_rule() -> None:
    inputs = OperationInputs((None, normal(1, 3), normal(1, 3)), ((3,),), (3,), LIKE)
    assert BOUND_RULES[Where].derive(Where(), inputs) is None
