"""Bounds compared with what a runtime computes at points of their regions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harden.bounds import Program
from harden.bounds.region import Region
from harden.evaluation.proofs.runtime_agreement import CORNERS, INSIDE, Execution, disagreement, points_of
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import LEVELS, Builder, runtime

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def net() -> Builder:
    net = Builder((2, 6, 6))
    net.conv(2, 8, pads=[1, 1, 1, 1])
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Flatten")
    net.dense(72, 5)
    return net


def execution(net: Builder, change: Callable[[Array], Array] = lambda y: y) -> Execution:
    model = net.model()
    sessions = {f"level {at}": runtime(model, level) for at, level in enumerate(LEVELS)}
    runtimes = {name: (lambda x, run=run: change(run(x))) for name, run in sessions.items()}
    return Execution(Program.of(read(model)), ("disabled",), runtimes)


def points(net: Builder, count: int = 20) -> torch.Tensor:
    x = torch.rand(count, *net.shape, generator=torch.Generator().manual_seed(1))
    return points_of(Region.around(x, Linf("1/10")), torch.Generator().manual_seed(0))


def test_a_graph_that_is_read_rightly_agrees(net: Builder) -> None:
    assert disagreement(execution(net), points(net)) is None


@pytest.mark.parametrize("size", [1e-3, -1e-3])
def test_a_small_difference_in_one_output_is_found(net: Builder, size: float) -> None:
    """Far less than any two logits differ by, and more than float32 can round."""

    def change(y: Array) -> Array:
        found = y.copy()
        found[7, 3] += np.float32(size)
        return found

    found = disagreement(execution(net, change), points(net))
    assert found is not None
    assert (found.runtime, found.point, found.output) == ("level 0", 7, 3)
    assert not found.lower <= found.value <= found.upper
    for word in ("level 0", "output 3", "input 7"):
        assert word in str(found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_disagrees(net: Builder, value: float) -> None:
    found = disagreement(execution(net, lambda y: np.full_like(y, value)), points(net))
    assert found is not None
    assert (found.point, found.output) == (0, 0)


def test_where_float32_may_overflow_nothing_is_compared() -> None:
    """There is no interval there, and so no proof that could be wrong."""
    net = Builder((2,))
    net.add("Gemm", np.array([[3e38, 0], [3e38, 1]], dtype=np.float32))
    assert disagreement(execution(net, lambda y: y + 1), torch.ones(3, 2)) is None


def test_no_points_agree(net: Builder) -> None:
    assert disagreement(execution(net, lambda y: y + 1), torch.zeros(0, *net.shape)) is None


def test_points_are_float32_of_each_box_and_reach_its_corners() -> None:
    x = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(1))
    region = Region.around(x, Linf("1/7"))
    found = points_of(region, torch.Generator().manual_seed(0))
    assert found.dtype == torch.float32
    each = found.reshape(1 + CORNERS + INSIDE, *x.shape).double()
    assert bool(((each >= region.lower) & (each <= region.upper)).all())
    near = torch.minimum(each - region.lower, region.upper - each) < 1e-6
    assert near.flatten(2).all(2)[1 : 1 + CORNERS].all()
    assert not bool(near.flatten(2).all(2)[1 + CORNERS :].any())
    assert torch.equal(found, points_of(region, torch.Generator().manual_seed(0)))
    assert not torch.equal(found, points_of(region, torch.Generator().manual_seed(1)))


def test_a_box_narrower_than_float32_gives_a_number_of_its_edge() -> None:
    """Neither end is a float32 number: the nearest is given, and proofs are about none."""
    lower = torch.tensor([[0.1]], dtype=torch.float64)
    found = points_of(Region(lower, lower + 1e-12), torch.Generator().manual_seed(0))
    assert bool((found - 0.1).abs().max() < 1e-7)
