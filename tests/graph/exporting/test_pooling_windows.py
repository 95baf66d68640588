"""Pools with ceil_mode: the exported file has torch's windows, at every level of graph optimisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn import functional

from harden.artefact.runtime.session import Session
from harden.certificate.optimisation_levels import LEVELS
from harden.errors import ExportError
from harden.graph.exporting.pooling_windows import drop_empty_windows
from harden.graph.exporting.torch_exporter import export_graph
from harden.models import Classifier

Pool = Callable[[Tensor], Tensor]


def pooled(image: tuple[int, ...], **attributes: Any) -> onnx.ModelProto:
    """A file of one pool with ceil_mode."""
    kind = str(attributes.pop("kind", "MaxPool"))
    node = helper.make_node(kind, ["x"], ["y"], ceil_mode=1, **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, *image])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "pool", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@settings(max_examples=60)
@given(
    size=st.integers(3, 12),
    width=st.integers(1, 5),
    stride=st.integers(1, 6),
    data=st.data(),
    kind=st.sampled_from(["MaxPool", "AveragePool", "AveragePool of pixels"]),
)
def test_a_pools_windows_are_torchs(
    size: int, width: int, stride: int, data: st.DataObject, kind: str
) -> None:
    padding = data.draw(st.integers(0, width // 2))
    dilation = data.draw(st.integers(1, 2)) if kind == "MaxPool" else 1
    if dilation * (width - 1) + 1 > size + 2 * padding:
        return
    x = torch.rand(2, 2, size, size, generator=torch.Generator().manual_seed(0))
    whole: dict[str, Any] = {"kernel_shape": [width] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
    if kind == "MaxPool":
        expected = functional.max_pool2d(x, width, stride, padding, dilation, ceil_mode=True)
        model = pooled((size, size), dilations=[dilation] * 2, **whole)
    else:
        inside = kind == "AveragePool"
        expected = functional.avg_pool2d(x, width, stride, padding, True, inside)
        model = pooled((size, size), kind="AveragePool", count_include_pad=int(inside), **whole)
    drop_empty_windows(model)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0]
    dims = [dim.dim_value for dim in inferred.type.tensor_type.shape.dim[2:]]
    assert dims == list(expected.shape[2:])
    for level in LEVELS.values():
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(None, {"x": x.numpy()})[0]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_one_axis_rounded_up_and_one_down() -> None:
    """8 pixels in steps of 3 leave a window in the padding; in steps of 2 one that is not full."""
    model = pooled((8, 8), kernel_shape=[3, 3], strides=[3, 2], pads=[1, 1, 1, 1])
    drop_empty_windows(model)
    x = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = functional.max_pool2d(x, 3, (3, 2), 1, ceil_mode=True)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(found, expected.numpy())


def test_an_average_that_can_not_be_said_is_refused() -> None:
    model = pooled(
        (8, 8), kind="AveragePool", kernel_shape=[3, 3], strides=[3, 2], pads=[1] * 4, count_include_pad=1
    )
    with pytest.raises(
        ExportError, match=r"an average pool with ceil_mode over \[3, 3\] pixels .* 8x8"
    ) as caught:
        drop_empty_windows(model)
    assert "ceil_mode=False" in caught.value.instead


def test_an_image_of_unknown_size_is_refused() -> None:
    model = pooled((8, 8), kernel_shape=[3, 3], strides=[3, 3], pads=[1] * 4)
    del model.graph.input[0].type.tensor_type.shape.dim[3:]
    model.graph.input[0].type.tensor_type.shape.dim.add().dim_param = "width"
    with pytest.raises(ExportError, match="whose size is not known"):
        drop_empty_windows(model)


class Pooled(nn.Module):
    """Pools of a convolution, whose windows begin in the padding, end there, and fit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(132, 3)
        self.pools: list[Pool] = [
            nn.MaxPool2d(3, 3, 1, ceil_mode=True),
            nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.MaxPool2d(2, 3, 1, dilation=2, ceil_mode=True),
            nn.AvgPool2d(3, 3, 1, ceil_mode=True),
            nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
            nn.AvgPool2d(3, 2, 1, ceil_mode=True),
            nn.AvgPool2d(2, 2, divisor_override=3),
            nn.LPPool2d(2, 3, 2, ceil_mode=True),
        ]

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        flat = torch.cat([pool(y).flatten(1) for pool in self.pools], 1)
        logits: Tensor = self.head(nn.functional.pad(flat, (0, 132))[:, :132])
        return logits + flat[:, 129:].sum(1, keepdim=True)


def test_an_exported_network_has_its_pools() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Pooled().eval()
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    file = export_graph(Classifier(network), (1, 8, 8))
    onnx.checker.check_model(file, full_check=True)
    with torch.no_grad():
        expected = network(x).numpy()
    for level in LEVELS:
        found = Session(file.SerializeToString(), level=level)(x.numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
