"""Functions that torch's exporter has no ONNX for, or a wrong one: their substitutes compute the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.graph.exporting.substitution import SUBSTITUTES, Substitution

Function = Callable[[Tensor], Tensor]

FUNCTIONS: dict[str, Function] = {
    "rrelu": functional.rrelu,
    "rrelu of other slopes": lambda x: torch.rrelu(x, 0.3, 0.5),
    "a module": nn.RReLU(0.1, 0.2).eval(),
    "adaptive maximum": lambda x: functional.adaptive_max_pool2d(x, (5, 4)),
    "one size": nn.AdaptiveMaxPool2d(7),
    "a size that stays": nn.AdaptiveMaxPool2d((None, 2)),
    "larger than the image": nn.AdaptiveMaxPool2d(11),
    "one axis": lambda x: functional.adaptive_max_pool1d(x.flatten(2), 6),
    "three axes": lambda x: functional.adaptive_max_pool3d(x[:, None], (2, 4, 5)),
    "distances": lambda x: torch.cdist(x.flatten(1), torch.eye(6, 243)),
    "distances in batches": lambda x: torch.cdist(x, x.flip(1), p=1),
    "largest distance": lambda x: torch.cdist(x, x + 1, p=float("inf")),
    "distances of order 3": lambda x: torch.cdist(x, 2 * x, p=3.0),
    "a divisor": lambda x: functional.avg_pool2d(x, 3, 2, 1, divisor_override=5),
    "a divisor, rounded up": lambda x: functional.avg_pool2d(
        x, (2, 3), (3, 2), (1, 0), ceil_mode=True, divisor_override=4
    ),
    "a divisor in a module": nn.AvgPool2d(2, divisor_override=1),
    "a divisor in space": lambda x: functional.avg_pool3d(x[:, None], 2, 1, 1, divisor_override=3),
    "median": lambda x: x.median(1)[0],
    "median of an even number": lambda x: torch.median(x[..., :8], -1, keepdim=True).values,
    "k-th value": lambda x: x.kthvalue(2, dim=2)[0],
    "k-th value of the last axis": lambda x: torch.kthvalue(x, 3).values,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_substitute_computes_what_torch_computes(name: str) -> None:
    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    used = []

    class Watched(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            used.append(function in SUBSTITUTES)
            return function(*args, **(kwargs or {}))

    expected = FUNCTIONS[name](x)
    with Watched():
        FUNCTIONS[name](x)
    assert any(used), "nothing is substituted"
    with Substitution():
        found = FUNCTIONS[name](x)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected)


def test_what_a_substitute_does_not_cover_is_left_to_torch() -> None:
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    whole: list[Function] = [
        lambda x: functional.avg_pool2d(x, 3, 2, 1),
        lambda x: functional.adaptive_max_pool2d(x, 4, return_indices=True)[1],
        lambda x: x.median(),
        lambda x: torch.cdist(x, x + 1, p=0.0),
    ]
    for function in whole:
        expected = function(x)
        with Substitution():
            assert torch.equal(function(x), expected)
