from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from harden.artefact.classifier_to_onnx import trace
from harden.artefact.parity.parity_gate import BATCHES, check_parity
from harden.artefact.parity.parity_gated_export import exported, first_images
from harden.artefact.runtime.session import Session
from harden.data import Examples, from_loader
from harden.errors import ExportError
from harden.models import Classifier
from harden.threats import Linf

MakeClassifier = Callable[..., Classifier]
SHAPE = (1, 8, 8)


def session_of(graph: onnx.ModelProto) -> Session:
    return Session(graph.SerializeToString())


def test_tolerance_and_error_are_what_the_docstring_says(
    trained: Classifier, traced: bytes, pictures: Tensor
) -> None:
    session = Session(traced)
    parity = check_parity(trained, session, pictures)

    double = copy.deepcopy(trained.network).double().eval()
    assert trained.harden_mean is not None
    assert trained.harden_std is not None
    with torch.no_grad():
        x64 = (pictures.double() - trained.harden_mean.double()) / trained.harden_std.double()
        y64 = double(x64)
        y32 = trained.network((pictures - trained.harden_mean) / trained.harden_std).double()
    own, scale = float((y32 - y64).abs().max()), float(y64.abs().max())
    assert parity.tolerance == pytest.approx(max(8 * own, 64 * 2.0**-23 * scale), rel=1e-6)
    ones = [torch.from_numpy(session(pictures[i : i + 1].numpy())).double() for i in range(len(pictures))]
    assert 0 < float((torch.cat(ones) - y64).abs().max()) <= parity.max_error <= parity.tolerance
    assert parity.batches == BATCHES == (1, 3, 5)


def test_a_network_whose_own_rounding_is_large_gets_more_room(
    make_classifier: MakeClassifier, pictures: Tensor
) -> None:
    """Cancellation: y32 is far from y64, and no export could be nearer."""

    class Cancelling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = (self.head(x.flatten(1)) + 1e3) - 1e3
            return answer

    model = make_classifier(Cancelling)
    parity = check_parity(model, session_of(trace(model, SHAPE)), pictures)
    assert parity.tolerance > 1e-4
    assert parity.max_error <= parity.tolerance


@pytest.mark.parametrize("one_weight_only", [False, True])
def test_a_graph_that_is_off_by_a_hundredth_fails(
    trained: Classifier, traced: bytes, pictures: Tensor, one_weight_only: bool
) -> None:
    graph = onnx.load_model_from_string(traced)
    rng = np.random.default_rng(0)
    floats = [item for item in graph.graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    for tensor in floats[-1:] if one_weight_only else floats:
        wrong = numpy_helper.to_array(tensor).copy()
        if one_weight_only:
            wrong.flat[0] += 1e-2
        else:
            wrong += 1e-2 * rng.standard_normal(wrong.shape).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(wrong, tensor.name))
    with pytest.raises(
        ExportError, match=r"logits that differ by .*; expected at most .* float64; check for"
    ):
        check_parity(trained, session_of(graph), pictures)


class Noisy(nn.Module):
    """Stochastic at inference."""

    noise = 0.05

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head((x + self.noise * torch.rand_like(x)).flatten(1))
        return answer


class HardlyNoisy(Noisy):
    """Noise that hides in a tolerance of eight times the network's own error."""

    noise = 1e-3


class NotANumber(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head((-x - 100).sqrt().flatten(1))
        return answer


class OtherInDouble(Noisy):
    """Another function in float64: the reference would be no reference."""

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x.flatten(1) * (1.0 if x.dtype == torch.float32 else 1.01))
        return answer


class OtherWhenExported(Noisy):
    """What a deployment flag does, or a bug of the exporter."""

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x.flatten(1) * (1.001 if torch.compiler.is_exporting() else 1.0))
        return answer


class HardCoded(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x.reshape(2, 64))
        return answer


class FixedWhenExported(Noisy):
    """Free in torch, and of a fixed batch in the graph."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(2, 64) if torch.compiler.is_exporting() else x.flatten(1)
        answer: Tensor = self.head(flat)
        return answer


@pytest.mark.parametrize(
    ("build", "seen"),
    [
        (Noisy, "between two forwards"),
        (HardlyNoisy, "between two forwards"),
        (NotANumber, "not finite"),
        (OtherInDouble, "in float32 and float64"),
        (OtherWhenExported, "logits that differ by"),
        (HardCoded, "a network that fails on a batch of 15"),
        (FixedWhenExported, "a graph that fails on a batch of 1"),
    ],
)
def test_graphs_that_do_not_compute_the_network_fail(
    make_classifier: MakeClassifier, test: Examples, build: Callable[[], nn.Module], seen: str
) -> None:
    image, y = first_images(from_loader(test))
    with pytest.raises(ExportError, match=seen) as caught:
        exported(make_classifier(build), image, y, Linf("1/10"))
    assert "in the network's forward" in caught.value.instead
    assert "\n" not in str(caught.value)


def test_the_gate_looks_at_attacked_images_too(trained: Classifier, test: Examples) -> None:
    """A graph that is right on clean images alone: pixels of clean digits are multiples of 1/16."""

    class Rounding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = copy.deepcopy(trained.network)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.inner((16 * x).round() / 16 if torch.compiler.is_exporting() else x)
            return answer

    model = Classifier(Rounding())
    image, y = first_images(from_loader(test))
    check_parity(model, session_of(trace(model, SHAPE)), image)
    with pytest.raises(ExportError, match="logits that differ by"):
        exported(model, image, y, Linf("1/10"))


def test_memory_that_runs_out_is_no_fault_of_the_network(pictures: Tensor) -> None:
    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model = Classifier(Large())
    with pytest.raises(torch.OutOfMemoryError):
        trace(model, (1, 8, 8))
