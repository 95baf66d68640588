"""Grids of integers: the runtime's values, and a gradient that an attack can climb."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.graph import GraphNetwork, read
from harden.models import Classifier
from tests.fitted import fitted
from tests.graph.graphs import Array, Given, constant, model, normal, run


def quantising(scale: Given, zero: Given, axis: int = 1) -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
    ]
    return model(nodes, ("n", 3, 50), [constant("s", scale), constant("z", zero)])


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("zero", [0, 3, 127])
def test_it_rounds_as_the_runtime_does(kind: type[np.int8] | type[np.uint8], zero: int) -> None:
    file = quantising(np.float32(0.25), np.array(zero, kind))
    x = np.concatenate([20 * normal(1, 3, 50), (np.arange(150) / 8 - 9).reshape(1, 3, 50)]).astype(np.float32)
    assert np.array_equal(read(file).run(torch.from_numpy(x)).numpy(), run(file, x))


def test_each_channel_has_its_own_grid() -> None:
    scale, zero = np.array([0.1, 0.25, 0.5], np.float32), np.array([0, -3, 7], np.int8)
    file = quantising(scale, zero)
    x = 10 * normal(2, 3, 50)
    assert np.array_equal(read(file).run(torch.from_numpy(x)).numpy(), run(file, x))


def test_the_gradient_goes_straight_through_inside_the_range_and_half_a_step_beyond() -> None:
    graph = read(quantising(np.float32(0.5), np.array(4, np.uint8)))
    low, high = -4 * 0.5, 251 * 0.5  # what 0 and 255 stand for
    places = [low - 0.3, low - 0.2, low + 0.1, 0.0, high, high + 0.2, high + 0.3]
    x = torch.zeros(1, 3, 50)
    x[0, 0, : len(places)] = torch.tensor(places)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(graph.run(x).sum(), x)
    assert gradient[0, 0, : len(places)].tolist() == [0, 1, 1, 1, 1, 1, 0]


class Images(CalibrationDataReader):  # type: ignore[misc]  # the package is untyped
    def __init__(self, x: torch.Tensor) -> None:
        self.rows = iter([{"image": x.numpy()}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.rows, None)


def test_an_int8_network_agrees_with_the_runtime_and_can_be_climbed(tmp_path: Path) -> None:
    digits = load("digits")
    network, x = fitted(digits, 60), digits.train.x
    plain, int8 = tmp_path / "plain.onnx", tmp_path / "int8.onnx"
    onnx.save(trace(Classifier(network), (1, 8, 8)), plain)
    settings = {"quant_format": QuantFormat.QDQ, "weight_type": QuantType.QInt8, "per_channel": True}
    quantize_static(plain, int8, Images(x[:100]), **settings)
    graph = read(int8)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.kind for node in graph.nodes}
    test = digits.test.x[:200].clone().requires_grad_()
    found = GraphNetwork(graph)(test)
    logits = found.detach().numpy()
    step = float(graph.constants[graph.nodes[-1].inputs[1]])  # of the grid that the logits lie on
    # Sums in another order, or of integers where layers are fused: a value within rounding of half a step
    # may fall on its other side, which moves a logit by a step, or by two where it happens in a layer before.
    for fused, same in ((False, 0.99), (True, 0.9)):
        expected = run(onnx.load(int8), test.detach().numpy(), fused)
        steps = np.abs(logits - expected) / step
        assert float(steps.max()) < 2.5
        assert float(np.mean(steps.max(1) < 0.5)) >= same
        assert float(np.mean(logits.argmax(1) == expected.argmax(1))) > 0.99
    loss = nn.functional.cross_entropy(found, digits.test.y[:200], reduction="sum")
    (gradient,) = torch.autograd.grad(loss, test)
    twin = nn.functional.cross_entropy(network(test), digits.test.y[:200], reduction="sum")
    (true,) = torch.autograd.grad(twin, test)
    cosine = nn.functional.cosine_similarity(gradient.flatten(1), true.flatten(1))
    assert float(cosine.median()) > 0.9
