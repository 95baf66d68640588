"""Networks that people use, exported: logits and gradients beside the runtime's and the twin's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.artefact.classifier_to_onnx import trace
from harden.attacks import PGD
from harden.evaluation import Attempt, evaluate
from harden.graph import GraphNetwork, read
from harden.losses import CrossEntropy
from harden.models import Classifier, frozen
from harden.models.small_networks import small_cnn
from harden.threats import Linf
from tests.graph.graphs import run

NETWORKS = [
    pytest.param("resnet18", 64, marks=pytest.mark.slow),
    pytest.param("mobilenet_v3_small", 64, marks=pytest.mark.once),
    pytest.param("vit_b_16", 32, marks=pytest.mark.once),
]


def lively(network: nn.Module) -> nn.Module:
    """Weights and statistics that give logits and gradients of a usual size."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.2, 1, generator=generator)  # type: ignore[union-attr]  # is there
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(0, module.in_features**-0.5, generator=generator)
    return network.eval()


def gradient(classify: nn.Module | Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    logits = classify.logits(x) if isinstance(classify, Classifier) else classify(x)
    (found,) = torch.autograd.grad(functional.cross_entropy(logits, logits.argmin(1)), x)
    return logits.detach(), found


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_logits_and_gradients_are_those_of_the_file_and_of_the_twin(name: str, size: int) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    special = {"image_size": size} if name.startswith("vit") else {}
    network = lively(models.get_model(name, weights=None, num_classes=10, **special))
    twin = Classifier(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    file = trace(twin, (3, size, size))
    reading = GraphNetwork(read(file))
    for batch in (1, 3):
        x = torch.rand(batch, 3, size, size)
        with frozen(twin):
            logits, mine = gradient(reading, x)
            other, theirs = gradient(twin, x)
        expected = run(file, x.numpy())
        scale = float(np.abs(expected).max())
        assert scale > 0.1
        assert float(np.abs(logits.numpy() - expected).max()) < 1e-5 * max(scale, 1)
        assert float((logits - other).abs().max()) < 1e-4 * max(scale, 1)
        cosine = functional.cosine_similarity(mine.flatten(1), theirs.flatten(1)).min()
        assert float(cosine) >= 0.9999


def test_a_reading_is_a_module_as_others() -> None:
    network = lively(small_cnn(1, 10, 8))
    reading = GraphNetwork(read(trace(Classifier(network), (1, 8, 8))))
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(copy.deepcopy(reading)(x), reading(x))
    other = GraphNetwork(reading.graph)
    other.load_state_dict(reading.state_dict())
    assert torch.equal(other(x), reading(x))
    double = copy.deepcopy(reading).double()
    assert double(x.double()).dtype == torch.float64
    assert float((double(x.double()) - reading(x)).abs().max()) < 1e-4


def test_a_file_is_attacked_as_its_twin_is() -> None:
    torch.manual_seed(1)
    twin = Classifier(lively(small_cnn(1, 10, 8)))
    reading = Classifier(GraphNetwork(read(trace(twin, (1, 8, 8)))))
    x = torch.rand(40, 1, 8, 8)
    y = twin.logits(x).argmax(1)
    attempts = [Attempt("pgd", PGD(steps=10), CrossEntropy)]
    found = [evaluate(model, (x, y), Linf("1/50"), attempts) for model in (twin, reading)]
    assert 0 < found[0].robust.count < 40
    assert abs(found[0].robust.count - found[1].robust.count) <= 1
    assert found[1].clean.count == 40
