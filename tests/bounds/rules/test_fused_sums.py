"""Layers and sums as one sum of all products: bounded as one, with one factor at most."""

from __future__ import annotations

import pytest
import torch

from harden.bounds import Method, Program, certify
from harden.bounds.rules.fused_sums import one_sum, with_offset
from harden.graph import read
from harden.graph.operators.affine_layers import Conv, Gemm
from harden.threats import Linf
from tests.bounds.networks import Builder, runtime
from tests.bounds.rules.derived_rules import affine, normal

MAP = (2, 4, 5)


def test_the_sum_of_two_layers_and_a_value() -> None:
    plain = Conv((1, 1), (1, 1, 1, 1), (1, 1))
    first = affine(plain, (None, normal(2, 2, 3, 3), normal(2)), MAP)
    second = affine(plain, (None, normal(2, 2, 3, 3, seed=1)), MAP)
    rule = one_sum((first, None, second), (MAP, MAP, MAP), MAP)
    assert rule is not None
    assert rule.terms == 2 * 18 + 3
    x, y, z = (normal(3, *MAP, seed=at) for at in (2, 3, 4))
    expected = first.linear(x) + y + second.linear(z)
    torch.testing.assert_close(rule.linear(x, y, z), expected)
    torch.testing.assert_close(rule.spread(x, y, z), first.spread(x) + y + second.spread(z))
    coefficients = normal(2, *MAP, seed=5)
    back = rule.transpose(coefficients)
    products = sum((one * other[:2]).sum() for one, other in zip(back, (x, y, z), strict=True))
    torch.testing.assert_close(products, (coefficients * expected[:2]).sum())
    assert rule.through is not None
    # What is added meets partial sums: it counts as a product with a weight of 1 at least.
    assert float(rule.largest_weight) >= 1


def test_layers_of_different_factors_are_no_one_sum() -> None:
    rules = [affine(Gemm(alpha=alpha), (None, normal(3, 3)), (3,)) for alpha in (1.0, 2.0, 0.5)]
    assert one_sum(rules[1:], ((3,), (3,)), (3,)) is None
    assert one_sum([None, None], ((3,), (3,)), (3,)) is None
    found = one_sum(rules[:2], ((3,), (3,)), (3,))
    assert found is not None
    assert found.factor == 2.0


def test_a_constant_is_one_product_more() -> None:
    layer, offset = affine(Gemm(), (None, normal(3, 2), normal(2, seed=1)), (3,)), normal(2, seed=2)
    found = with_offset(layer, offset)
    torch.testing.assert_close(found.offset, layer.offset + offset)
    torch.testing.assert_close(found.offset_magnitude, layer.offset_magnitude + offset.abs())
    assert found.terms == layer.terms + 1


@pytest.mark.parametrize("name", ["residual", "conv", "dense"])
def test_a_layer_and_its_sum_are_bounded_as_one(name: str) -> None:
    """No tighter than the real network, and what is read by others stays a value of its own."""
    net = Builder((4, 5, 5), seed=1)
    image = net.last
    net.conv(4, 4, pads=[1, 1, 1, 1])
    first = net.last
    net.add("Add", image, after=first)
    if name == "residual":  # the layer's output is read twice: two sums
        net.add("Add", first)
    elif name == "conv":  # both are layers
        left = net.last
        net.conv(4, 4, pads=[1, 1, 1, 1])
        net.add("Add", left)
    net.add("Flatten")
    net.dense(100, 3)
    model = net.model()
    program = Program.of(read(model))
    assert (first in {step.name for step in program.steps}) == (name == "residual")
    x = torch.rand(4, *net.shape, generator=torch.Generator().manual_seed(0))
    y = torch.from_numpy(runtime(model)(x.numpy()).argmax(1))
    margins = certify(program, x, y, Linf("1/1000"), Method(climb=None)).margins
    logits = torch.from_numpy(runtime(model)(x.numpy())).double()
    own = logits.gather(1, y[:, None]) - logits.scatter(1, y[:, None], -torch.inf).amax(1, keepdim=True)
    assert bool((margins <= own[:, 0]).all())
    assert bool((margins > own[:, 0] - 0.1).all())
