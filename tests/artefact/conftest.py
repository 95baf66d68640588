from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harden.artefact.artefact import Artefact
from harden.artefact.classifier_to_onnx import trace
from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.data import Examples, load
from harden.evaluation import pgd_suite
from harden.hardening import Recipe, harden
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import Standard
from harden.threats import Linf
from harden.training import AdamW

THREAT = Linf("1/10")
MEAN, STD = 0.31, 0.27

MakeClassifier = Callable[..., Classifier]
MakeClaim = Callable[..., Claim]


@pytest.fixture(scope="session")
def make_classifier() -> MakeClassifier:
    """Builds a Classifier around a network that `build` makes, with weights that depend on the seed alone."""

    def make(build: Callable[[], nn.Module] = small_cnn, seed: int = 0, channels: int = 1) -> Classifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build()
        return Classifier(network, (MEAN,) * channels, (STD,) * channels)

    return make


@pytest.fixture(scope="session")
def make_claim() -> MakeClaim:
    """A claim that is checked with few attack steps, and with as many as it takes to be trusted."""

    def make(threat: object = THREAT, before: Classifier | None = None, steps: int = 10) -> Claim:
        return Claim(threat=threat, attempts=pgd_suite(steps, 1), before=before)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def train() -> Examples:
    return load("digits").train.take(torch.arange(400))


@pytest.fixture(scope="session")
def test() -> Examples:
    return load("digits").test.take(torch.arange(40))


@pytest.fixture(scope="session")
def trained(make_classifier: MakeClassifier, train: Examples) -> Classifier:
    """A plainly trained digits classifier: right on most images, and far from robust."""
    recipe = Recipe(finetune=Standard(), optimiser=AdamW(3e-3), validations=1)
    return harden(make_classifier(), train, threat=THREAT, recipe=recipe, budget="8epochs").model


@pytest.fixture(scope="session")
def traced(trained: Classifier) -> bytes:
    """The classifier's graph, as bytes."""
    content: bytes = trace(trained, (1, 8, 8)).SerializeToString(deterministic=True)
    return content


@pytest.fixture(scope="session")
def issued(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One exported artefact that many tests read; those that change it take `artefact`."""
    folder = tmp_path_factory.mktemp("issued") / "artefact"
    artefact = export(trained, folder, test, make_claim())
    predicate = artefact.certificate.predicate
    # What makes the tests below say something: it is a working model, and some of it was broken.
    assert predicate.clean.value > 0.7
    assert predicate.evidence.witnesses >= 8
    assert predicate.verdicts.unknown >= 1
    return folder


@pytest.fixture
def artefact(issued: Path, tmp_path: Path) -> Artefact:
    """A copy of the artefact, to be changed."""
    shutil.copytree(issued, tmp_path / "artefact")
    return Artefact(tmp_path / "artefact")


@pytest.fixture(scope="session")
def pictures() -> Tensor:
    """7 images (1, 8, 8)."""
    return torch.from_numpy(np.random.default_rng(3).random((7, 1, 8, 8), dtype=np.float32))
