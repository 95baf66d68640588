"""Layers with weights: each attribute and random windows against onnxruntime, and products of any form."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.affine_layers import ROWS, BatchNormalization, ConvTranspose, Einsum, Gemm
from tests.graph.cases import check_case, named
from tests.graph.graphs import normal, one, run
from tests.graph.windows import compared, geometry


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize(("trans_a", "trans_b"), [(0, 1), (1, 0), (1, 1)])
def test_a_product_of_transposed_matrices(trans_a: int, trans_b: int) -> None:
    x, weight = normal(3, 4), normal(*((5, 4) if trans_b else (4, 5)))
    given = x.T.copy() if trans_a else x
    operation = Gemm(alpha=2.0, beta=-0.5, trans_a=bool(trans_a), trans_b=bool(trans_b))
    found = operation(*map(torch.from_numpy, (given, weight, normal(5, seed=1))))
    expected = 2 * x @ (weight.T if trans_b else weight) - 0.5 * normal(5, seed=1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("more", [0, 1])
def test_a_transposed_convolution_is_the_runtime_s(more: int) -> None:
    attributes: dict[str, Any] = {
        "strides": [2, 3],
        "pads": [1, 0, 0, 2],
        "dilations": [1, 2],
        "output_padding": [more, 2],
    }
    weight, x = normal(4, 3, 3, 2), normal(2, 4, 5, 4)
    file = one("ConvTranspose", ("n", 4, 5, 4), weight, normal(6), group=2, **attributes)
    (node,) = read(file).nodes
    assert isinstance(node.operation, ConvTranspose)
    found = read(file).run(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, run(file, x), rtol=1e-4, atol=1e-5)


def test_a_norm_s_gradient_reaches_statistics_that_need_one() -> None:
    """torch's own batch_norm takes them for constants."""
    x, scale, bias = (torch.from_numpy(normal(*shape)) for shape in ((4, 3, 2), (3,), (3,)))
    mean, variance = torch.zeros(3, requires_grad=True), torch.ones(3, requires_grad=True)
    operation = BatchNormalization(1e-3)
    found = operation(x, scale, bias, mean, variance)
    plain = operation(x, scale, bias, mean.detach(), variance.detach())
    torch.testing.assert_close(found, plain)
    by_mean, by_variance = torch.autograd.grad(found.sum(), (mean, variance))
    slope = scale / (1 + 1e-3) ** 0.5
    torch.testing.assert_close(by_mean, -8 * slope)
    torch.testing.assert_close(by_variance, -0.5 * (x.sum((0, 2)) * slope) / (1 + 1e-3))


@pytest.mark.parametrize("equation", ["nij,jk->nik", "nij,nkj->nik", "nij,i->nj", " nij , njk -> nik"])
def test_an_einsum_is_numpy_s(equation: str) -> None:
    inputs, output = equation.replace(" ", "").split("->")
    letters, sizes = inputs.split(","), {"n": 2, "i": 3, "j": 4, "k": 5}
    arrays = [normal(*(sizes[letter] for letter in each)) for each in letters]
    found = Einsum(tuple(letters), output)(*map(torch.from_numpy, arrays))
    np.testing.assert_allclose(found.numpy(), np.einsum(equation, *arrays), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("equation", ["nii,jk->njk", "n...,jk->nk", "nij,jk", "nij->nji"])
def test_an_einsum_of_another_form_is_refused(equation: str) -> None:
    with pytest.raises(InputError, match="equation="):
        read(one("Einsum", ("n", 3, 3), normal(3, 3), equation=equation))


def test_a_product_with_the_batch_on_its_right_mixes_images() -> None:
    assert mixing(read(one("MatMul", (3, 4), normal(3, 3), first=1))) != ()
    assert mixing(read(one("MatMul", ("n", 4, 3), normal(2, 4), first=1))) == ()
    assert mixing(read(one("Gemm", (3, 3), normal(3, 2), transA=1))) != ()


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("opset", [13, 18, 22])
def test_convolutions(axes: int, opset: int) -> None:
    draw = random.Random(100 * axes + opset)
    for _ in range(25):
        attributes = geometry(draw, axes, dilated=True)
        groups = draw.choice([1, 2, 4])
        weight = normal(8, 4 // groups, *attributes["kernel_shape"])
        size = (4, *(draw.randint(7, 10) for _ in range(axes)))
        compared("Conv", size, weight, normal(8), group=groups, opset=opset, **attributes)
