"""Rules of pooling: means are affine, on windows too where nothing is padded; maxima are windows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from harden.bounds.rules import Pooling
from harden.graph.operators.pooling import AveragePool, MaxPool
from tests.bounds.rules.derived_rules import check_affine, derived, normal


@pytest.mark.parametrize(
    ("operation", "size", "windows"),
    [
        (AveragePool((2, 3), (2, 2), (0, 0, 0, 0)), (2, 6, 7), True),
        (AveragePool((3, 3), (2, 1), (1, 1, 1, 1)), (2, 6, 5), False),
        (AveragePool((3, 2), (2, 2), (0, 1, 2, 0), count_include_pad=True), (2, 6, 5), False),
        (AveragePool((2, 2), (2, 2), (0, 0, 0, 0), ceil_mode=True), (2, 5, 5), False),
        (AveragePool((3,), (2,), (0, 0)), (2, 7), False),
    ],
    ids=str,
)
def test_a_mean_over_windows(operation: AveragePool, size: tuple[int, ...], windows: bool) -> None:
    rule = check_affine(operation, (None,), size)
    assert (rule.through is not None) == windows
    assert rule.factor == pytest.approx(1 / rule.terms)
    assert rule.terms == torch.Size(operation.kernel).numel()


def test_a_maximum_is_taken_over_the_operation_s_windows() -> None:
    rule = derived(MaxPool((3, 2), (2, 1), (1, 0, 1, 1), (1, 2)), (None,), (2, 6, 5))
    assert isinstance(rule, Pooling)
    x = normal(3, 2, 6, 5)
    framed = functional.pad(x, (0, 1, 1, 1), value=-torch.inf)
    low, high = rule.interval(x, x + 1)
    torch.testing.assert_close(low, functional.max_pool2d(framed, (3, 2), (2, 1), 0, (1, 2)))
    torch.testing.assert_close(high, low + 1)
