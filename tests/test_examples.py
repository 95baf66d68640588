from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

import harden
from harden.data import Splits, load
from harden.verifier.verify_command import main as verify

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
NAMES = {path.stem for path in EXAMPLES}


def imported(name: str) -> ModuleType:
    path = next(path for path in EXAMPLES if path.stem == name)
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits at toy size."""
    splits = load("digits")
    train, test = splits.train.take(torch.arange(120)), splits.test.take(torch.arange(24))
    monkeypatch.setattr("harden.data.load", lambda spec: Splits(train, test, splits.name))


def test_every_example_is_run_here() -> None:
    assert sorted(NAMES) == ["own_recipe", "quickstart"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_headers_are_measured_claims(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 120
    header = ast.get_docstring(ast.parse(text)) or ""
    for part in (
        "Measured",
        "n = 599",
        "95 %",
        "torch 2.",
        "onnxruntime 1.",
        "CPU",
        f"python examples/{path.name}",
    ):
        assert part in header, part


@pytest.mark.parametrize("name", sorted(NAMES))
def test_examples_run(
    name: str, few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main: Callable[..., harden.Artefact] = imported(name).main
    artefact = main(budget="40E", out=tmp_path / "out")
    assert artefact.folder == tmp_path / "out"
    assert "robust accuracy, by attack" in capsys.readouterr().out
    assert verify([str(tmp_path / "out")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_users_own_attack_and_loss_stand_in_the_certificate(few: None, tmp_path: Path) -> None:
    module = imported("own_recipe")
    artefact = module.main(budget="40E", out=tmp_path / "out")
    attacks = {record.name: record for record in artefact.certificate.predicate.attacks}
    assert attacks["random corners"].spec == {
        "attack": "example_own_recipe:random_corners",
        "loss": "example_own_recipe:difference_of_logits",
        "precision": "float32",
    }
    assert attacks["random corners"].attempted == artefact.certificate.predicate.clean.count
    assert [stage.name for stage in artefact.certificate.predicate.provenance.stages] == [
        "pretrain",
        "finetune",
    ]
