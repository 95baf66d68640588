"""From a Classifier to ONNX: a batch of any size, and weights as they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized

from harden.artefact.runtime.session import Session
from harden.graph.exporting.torch_exporter import export_graph
from harden.models import Classifier


class Rows(nn.Module):
    """The batch's size as Python's len gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.reshape(len(x), -1))
        return logits


def test_the_length_of_a_batch_is_no_number() -> None:
    with torch.random.fork_rng(devices=[]):
        model = Classifier(Rows().eval())
    file = export_graph(model, (1, 8, 8))
    assert file.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    x = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(Session(file.SerializeToString())(x.numpy())), model(x))


@pytest.mark.parametrize("kind", ["orthogonal", "spectral", "weight"])
def test_parametrised_weights_are_exported_as_what_they_are(kind: str) -> None:
    """ONNX has no Householder products, and onnxruntime would compute the same weights each time."""
    kinds: dict[str, Callable[[nn.Module], nn.Module]] = {
        "orthogonal": parametrizations.orthogonal,
        "spectral": parametrizations.spectral_norm,
        "weight": parametrizations.weight_norm,
    }
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            nn.Flatten(), kinds[kind](nn.Linear(64, 6)), nn.ReLU(), nn.Linear(6, 3)
        ).eval()
    file = export_graph(Classifier(network), (1, 8, 8))
    assert {node.op_type for node in file.graph.node} <= {"Gemm", "Relu", "Reshape", "Flatten"}
    assert is_parametrized(network[1])
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(x)
    torch.testing.assert_close(torch.from_numpy(Session(file.SerializeToString())(x.numpy())), expected)
