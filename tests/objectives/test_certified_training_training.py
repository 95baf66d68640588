"""Certified training in the loop, up to the file that is proved."""

from __future__ import annotations

from itertools import islice

import torch
from torch import nn

from harden.artefact.classifier_to_onnx import trace
from harden.bounds import Method, Program, certify
from harden.data import Batch, from_loader, load
from harden.graph import read
from harden.hardening import Recipe, harden
from harden.models import Classifier
from harden.models.snapshot import Snapshot, tensors_of
from harden.objectives import IBP, SABR
from harden.threats import Linf
from harden.training import AdamW, Budget, Stage, train
from tests.objectives.certified_networks import classifier


def test_training_goes_on_from_a_snapshot_to_the_same_bytes(batch: Batch) -> None:
    source, stage = from_loader((batch.x, batch.y), 4), Stage("finetune", SABR(), Budget.parse("3epochs"))
    whole, first, second = (classifier("normed") for _ in range(3))
    for _ in train(stage, whole, source, Linf("0.1")):
        pass
    steps = train(stage, first, source, Linf("0.1"))
    for _ in islice(steps, 4):
        pass
    kept = steps.snapshot()
    kept = Snapshot({name: value.clone() for name, value in kept.tensors.items()}, kept.facts)
    steps.close()
    for _ in train(stage, second, source, Linf("0.1"), start=kept):
        pass
    expected = tensors_of(whole)
    assert all(torch.equal(each, expected[name]) for name, each in tensors_of(second).items())
    assert not torch.equal(expected["network.0.weight"], tensors_of(classifier("normed"))["network.0.weight"])


def test_hardening_leaves_the_users_network_as_it_is(batch: Batch) -> None:
    model, same = classifier("normed"), tensors_of(classifier("normed"))
    recipe = Recipe(finetune=IBP(), validations=0, held_out=0.25)
    hardened = harden(model, (batch.x, batch.y), threat=Linf("0.1"), recipe=recipe, budget="2epochs")
    assert all(torch.equal(each, same[name]) for name, each in tensors_of(model).items())
    assert not torch.equal(tensors_of(hardened.model)["network.0.weight"], same["network.0.weight"])


def test_digits_are_certified_after_a_short_training() -> None:
    splits = load("digits")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    model = Classifier(network)
    stage = Stage("finetune", IBP(), Budget.parse("6epochs"), AdamW(5e-3, 0.0), validations=0, average=0.9)
    for _ in train(stage, model, from_loader(splits.train, 64), Linf("0.03")):
        pass
    graph = read(trace(model, (1, 8, 8)))
    test = splits.test.batch(torch.arange(100))
    proofs = certify(Program.of(graph), test.x, test.y, Linf("0.02"), Method(climb=None))
    assert float(proofs.certified.float().mean()) > 0.5
