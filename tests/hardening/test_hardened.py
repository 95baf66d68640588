"""A hardened model is evaluated under its own threat, and exported on images that training never saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from harden.data import from_loader, leaks, load, without
from harden.data.sources.in_memory import ExamplesSource
from harden.errors import InputError
from harden.evaluation import pgd_suite
from harden.hardening import Hardened, Recipe, harden
from harden.models import Classifier
from harden.objectives import Standard
from harden.threats import Linf

THREAT = Linf("0.1")


def trained(model: Classifier, data: object) -> Hardened:
    """After one epoch of plain training."""
    source = from_loader(data, 50) if isinstance(data, tuple) else data
    recipe = Recipe(Standard(), validations=0)
    return harden(model, source, threat=THREAT, recipe=recipe, budget="1epochs", exportable=False)


def test_evaluate_is_the_worst_case_under_the_runs_own_threat(
    model: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    hardened = trained(model, data)
    assert repr(hardened) == 'Hardened(Sequential, Linf("1/10"), 1.0 E, seed=0)'
    suite = pgd_suite(steps=3, restarts=1)
    found = hardened.evaluate((data[0][:40], data[1][:40]), suite)
    assert found.threat == THREAT
    assert found.labels.tolist() == data[1][:40].tolist()
    assert found.robust.count <= found.clean.count
    again = hardened.evaluate((data[0][:40], data[1][:40]), suite, batch_size=40)
    assert torch.equal(again.witnesses.witness, found.witnesses.witness)


def test_what_is_kept_next_to_the_file(
    model: Classifier, data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    hardened = trained(model, data)
    test = load("digits").test.take(torch.arange(20))
    with pytest.raises(InputError, match="2 models to compare with"):
        hardened.export(tmp_path / "out", test, compare={"one": model, "other": model})
    artefact = hardened.export(
        tmp_path / "out", test, attempts=pgd_suite(1, 1), compare={}, notes={"a.txt": "mine"}
    )
    assert artefact.certificate.predicate.comparison is None
    kept = tmp_path / "out" / "checkpoint"
    assert {path.name for path in kept.iterdir()} == {"a.txt", "plan.json", "weights.safetensors"}
    assert (kept / "a.txt").read_text() == "mine"
    plan = json.loads((kept / "plan.json").read_text())
    assert {name: plan[name] for name in hardened.plan} == hardened.plan
    lines = (tmp_path / "out" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [each.step for each in hardened.origin.history]


def test_training_images_among_the_test_images_are_refused_with_their_places(
    model: Classifier, data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    hardened = trained(model, data)
    test = load("digits").test
    x, y = torch.cat((test.x[:20], data[0][7:8])), torch.cat((test.y[:20], data[1][7:8]))
    with pytest.raises(InputError) as caught:
        hardened.export(tmp_path / "out", (x, y), attempts=pgd_suite(1, 1))
    assert caught.value.seen.startswith("1 of 21 test images are training images too (1 of 200)")
    assert "training 7 = test 20" in caught.value.seen
    assert "harden.data.without(" in caught.value.instead
    assert list(tmp_path.iterdir()) == []
    whole = from_loader((x, y))
    assert isinstance(whole, ExamplesSource)
    kept = without(whole, leaks(from_loader(data), whole).test)
    certificate = hardened.export(tmp_path / "out", kept, attempts=pgd_suite(1, 1)).certificate
    assert certificate.predicate.data.n == 20
    assert certificate.predicate.data.unseen is True


class Noisy(TensorDataset):
    """Images with random noise: no pixel comes out twice."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        x, y = (part[index] for part in self.tensors)
        return (x + 0.01 * torch.rand(x.shape)).clamp(0, 1), y


def test_training_images_behind_a_loader_are_compared_too(
    model: Classifier, data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    loader = DataLoader(TensorDataset(*data), batch_size=32)
    hardened = trained(model, loader)
    x, y = data
    for same in (loader, (x[:40].requires_grad_(), y[:40]), TensorDataset(x[:40].clone(), y[:40])):
        with pytest.raises(InputError, match="images that training never saw"):
            hardened.export(tmp_path / "out", same, attempts=pgd_suite(1, 1))
    test = load("digits").test.take(torch.arange(20))
    told = hardened.export(tmp_path / "out", test, attempts=pgd_suite(1, 1)).certificate
    assert told.predicate.data.unseen is True


def test_random_transforms_hide_no_example_of_the_same_dataset_and_the_rest_is_not_claimed(
    model: Classifier, data: tuple[Tensor, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x, y = data
    hardened = trained(model, Noisy(x, y))
    with pytest.raises(InputError, match="40 of 40 test images are examples that training read"):
        hardened.export(tmp_path / "out", Noisy(x[:40].clone(), y[:40]), attempts=pgd_suite(1, 1))
    test = load("digits").test.take(torch.arange(20))
    told = hardened.export(tmp_path / "out", test, attempts=pgd_suite(1, 1)).certificate
    assert told.predicate.data.unseen is None
    assert "random transforms" in caplog.text
