"""What onnxruntime executes for a file, read back level by level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

from harden.certificate.optimisation_levels import LEVELS
from harden.errors import InputError
from harden.graph import UnreadableError
from harden.graph.executed.optimised_graphs import RuntimeGraph, runtime_graphs
from harden.graph.exporting.torch_exporter import export_graph
from harden.models import Classifier
from tests.graph.graphs import Array, constant, model, normal


def session(file: onnx.ModelProto, level: str, x: Array) -> Array:
    """What a session at a level of graph optimisation answers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    found = onnxruntime.InferenceSession(
        file.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    answer: Array = found.run(None, {found.get_inputs()[0].name: x})[0]
    return answer


def check(file: onnx.ModelProto, x: Array) -> tuple[RuntimeGraph, ...]:
    """Every level is read once, and each reading computes what its level executes."""
    found = runtime_graphs(file)
    assert sorted(level for each in found for level in each.levels) == sorted(LEVELS)
    for each in found:
        double = {name: value.double() for name, value in each.graph.constants.items()}
        exact = each.graph.run(torch.from_numpy(x).double(), double).numpy()
        for level in each.levels:
            answer = session(file, level, x).reshape(exact.shape)
            assert np.abs(answer - exact).max() <= 1e-5 * np.abs(exact).max(), level
    return found


class Residual(nn.Module):
    """Convolutions with a sum that onnxruntime fuses, in a number of channels."""

    def __init__(self, channels: int, group: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, groups=group)
        self.norm = nn.BatchNorm2d(channels)
        self.third = nn.Conv2d(channels, channels, 1)
        self.last = nn.Linear(channels, 4)
        nn.init.uniform_(self.norm.running_mean)  # type: ignore[arg-type]  # a buffer here
        nn.init.uniform_(self.norm.running_var, 0.5, 2)  # type: ignore[arg-type]  # likewise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = self.norm(torch.relu(x + self.second(x)))
        x = nn.functional.max_pool2d(nn.functional.leaky_relu(self.third(x), 0.1), 2)
        x = torch.sigmoid(nn.functional.avg_pool2d(x, 2))
        logits: torch.Tensor = self.last(x.mean((2, 3)))
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "whole blocks of channels": lambda: Residual(16),
    "padded channels": lambda: Residual(10),
    "more than one block, padded": lambda: Residual(20),
    "depthwise": lambda: Residual(16, 16),
    "depthwise, padded": lambda: Residual(24, 24),
    "groups": lambda: Residual(32, 2),
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 4)),
    "gelu": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.GELU(), nn.Linear(8, 4)),
    "activations": lambda: nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Hardsigmoid(), nn.Conv2d(16, 16, 3), nn.Tanh(), nn.Conv2d(16, 8, 3),
        nn.ReLU6(), nn.Flatten(), nn.Linear(32, 4),
    ),
    "global pooling": lambda: nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_each_level_is_read_as_it_is_executed(name: str) -> None:
    torch.manual_seed(0)
    file = export_graph(Classifier(NETWORKS[name]().eval(), mean=(0.5,) * 3, std=(0.25,) * 3), (3, 8, 8))
    check(file, np.random.default_rng(0).random((3, 3, 8, 8)).astype(np.float32))


def test_fusions_that_compute_the_same_are_one_graph() -> None:
    """What harden exports is proved once, not four times."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 20, 3),
        nn.ReLU(), nn.Flatten(), nn.Linear(80, 8), nn.ReLU(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    found = runtime_graphs(export_graph(Classifier(net), (1, 8, 8)))
    assert [each.levels for each in found] == [tuple(LEVELS)]


def test_a_pad_that_becomes_the_pools_own_is_another_graph() -> None:
    """Zeros around the image in the file; minus infinity in what every optimised session executes."""
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("MaxPool", ["p"], ["y"], kernel_shape=[1, 3]),
    ]
    file = model(nodes, ("n", 1, 4, 1), [constant("pads", np.array([0, 0, 0, 1, 0, 0, 0, 1]))])
    x = -np.ones((2, 1, 4, 1), dtype=np.float32)
    with_zeros, with_infinity = check(file, x)
    assert with_zeros.levels == ("disabled",)
    assert with_infinity.levels == ("basic", "extended", "all")
    assert with_zeros.graph.run(torch.from_numpy(x)).max() == 0
    assert with_infinity.graph.run(torch.from_numpy(x)).max() == -1


def test_folded_weights_are_those_of_the_runtime() -> None:
    """A scale that underflows when it is folded into a convolution's weights."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "tiny"], ["y"]),
    ]
    constants = [constant("w", np.full((1, 1, 1, 1), 1e-30, np.float32)), constant("tiny", np.float32(1e-20))]
    found = runtime_graphs(model(nodes, ("n", 1, 2, 2), constants))
    assert len(found) == 2
    folded = next(each for each in found if "all" in each.levels)
    weights = [value for value in folded.graph.constants.values() if value.dim() == 4]
    assert [float(each.abs().max()) for each in weights] == [0.0]


def test_a_folded_weight_that_overflows_is_refused() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "large"], ["y"]),
    ]
    constants = [constant("w", np.full((1, 1, 1, 1), 1e30, np.float32)), constant("large", np.float32(1e20))]
    with pytest.raises(UnreadableError, match=r"not finite.*level 'basic'"):
        runtime_graphs(model(nodes, ("n", 1, 2, 2), constants))


def test_a_sum_that_is_fused_into_a_gemm_is_a_sum_again() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["x", "v"], ["b"]),
        helper.make_node("Sum", ["a", "b"], ["y"]),
    ]
    constants = [constant("w", normal(4, 3)), constant("v", normal(4, 3, seed=1))]
    file = model(nodes, ("n", 4), constants)
    try:
        check(file, normal(2, 4))
    except UnreadableError as error:
        assert "Sum (no rule)" in str(error)  # noqa: PT017  # one of both holds, as operators are added


def test_a_clip_without_an_upper_end_has_none_when_it_is_fused() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Clip", ["c", "low"], ["y"]),
    ]
    constants = [constant("w", normal(16, 16, 1, 1)), constant("low", np.float32(-0.5))]
    found = check(model(nodes, ("n", 16, 2, 2), constants), normal(2, 16, 2, 2))
    assert len(found) == 1


def test_a_sum_of_values_with_an_activation_is_a_sum_again() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Add", ["a", "r"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    check(model(nodes, ("n", 4), [constant("w", normal(4, 4))]), normal(2, 4))


def test_an_operator_of_the_runtimes_own_is_refused_by_name_and_level() -> None:
    """Add and Softmax become BiasSoftmax, which has no form in ONNX's own operators."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Add", ["f", "b"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"], axis=1),
    ]
    file = model(nodes, ("n", 1, 1, 4), [constant("b", normal(1, 4))])
    try:
        check(file, normal(2, 1, 1, 4))
    except UnreadableError as error:
        assert "com.microsoft" in str(error)  # noqa: PT017  # whether it is fused depends on the version
        assert "level 'extended'" in str(error)  # noqa: PT017


def test_a_file_that_does_not_load_is_refused() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    file = model([node], ("n", 4))
    file.opset_import[0].version = 99
    with pytest.raises(InputError, match=r"opset 99|does not load"):
        runtime_graphs(file)
