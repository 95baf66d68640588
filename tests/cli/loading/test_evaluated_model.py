"""The model of `harden evaluate`: what gives gradients, what decides, which options do not go together."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harden.artefact.artefact import Artefact
from harden.cli.loading.evaluated_model import EvaluatedModel, check_spec, evaluated_model
from harden.cli.options.evaluate_options import EvaluateOptions
from harden.data import Source, Splits, from_loader, load
from harden.errors import InputError
from harden.evaluation import pgd_suite
from harden.hardening.model_spec import ModelSpec
from harden.models import Classifier
from tests.deployed.lines import greys, line_file, line_model

MADE = Path(__file__).parents[2] / "earlier_versions" / "made"
SUITE = pgd_suite(2, 1)


@pytest.fixture(scope="module")
def few() -> Splits:
    digits = load("digits")
    part = digits.test.take(torch.arange(12))
    return replace(digits, train=part, test=part)


@pytest.fixture
def lines() -> Splits:
    images = greys(0.2, 0.45, 0.55, 0.8)
    return Splits(images, images, "greys")


def source(splits: Splits) -> Source:
    return from_loader(splits.test, 12)


def loaded(spec: str, splits: Splits, **options: Any) -> EvaluatedModel:
    own = {name: options.pop(name) for name in ("mean", "std", "head") if name in options}
    given = EvaluateOptions(spec, "digits", **options)
    return evaluated_model(ModelSpec(spec, **own), splits, source(splits), given, SUITE)


# A network


def test_a_network_decides_itself(few: Splits) -> None:
    found = loaded("small", few, seed=3)
    setup = found.setup
    assert (found.file, found.artefact) == (None, None)
    assert (setup.decided_by, setup.level, setup.attempts) == ("torch", "A", SUITE)
    x = few.test.batch(torch.arange(2)).x
    assert torch.equal(setup.judge(x), setup.model.logits(x))
    # Fresh weights depend on the seed.
    same, other = (loaded("small", few, seed=seed).setup.model for seed in (3, 4))
    assert torch.equal(same.logits(x), setup.model.logits(x))
    assert not torch.equal(other.logits(x), setup.model.logits(x))


def test_a_network_of_a_function_is_built_for_the_data(few: Splits, models: str) -> None:
    model = loaded(f"{models}:sized", few).setup.model
    assert model.logits(few.test.batch(torch.arange(3)).x).shape == (3, 10)


@pytest.mark.parametrize("options", [{"twin": "small"}, {"black_box": True}])
def test_options_for_files_are_refused_for_a_network(few: Splits, options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        loaded("small", few, **options)
    assert caught.value.seen == "--twin or --black-box for small"
    assert caught.value.expected == "an ONNX file by itself"
    assert caught.value.instead == "leave these options out"


def test_a_device_that_is_none_is_refused(few: Splits) -> None:
    with pytest.raises(InputError, match="device"):
        loaded("small", few, device="tpu:x")


# A file


def test_a_file_is_read_and_decides_in_onnxruntime(tmp_path: Path, lines: Splits) -> None:
    path = line_file(tmp_path)
    found = loaded(str(path), lines)
    assert found.file is not None
    assert found.file.path == path
    assert found.artefact is None
    assert found.setup.level == "A"
    assert found.setup.judge == found.file.judge


def test_what_attacks_may_use_of_a_file_is_an_option(tmp_path: Path, lines: Splits) -> None:
    path = str(line_file(tmp_path))
    assert loaded(path, lines, black_box=True).setup.level == "C"
    normalised = loaded(path, lines, mean=(0.25,), std=(0.5,))
    assert normalised.file is not None
    assert (normalised.file.mean, normalised.file.std) == ((0.25,), (0.5,))


def test_a_twin_takes_the_options_for_models(tmp_path: Path, lines: Splits, models: str) -> None:
    """With --twin mean and std are the twin's, and the file takes pixels."""
    path = str(line_file(tmp_path))
    twin = f"{models}:sized"
    found = loaded(path, lines, twin=twin, black_box=True, mean=(0.25,), std=(0.5,), head="1")
    assert found.setup.level == "B"
    assert found.file is not None
    assert found.file.mean is None
    sources = {attempt.source for attempt in found.setup.attempts if attempt.source is not None}
    (made,) = sources
    assert isinstance(made, Classifier)
    assert made.harden_mean is not None
    assert made.harden_std is not None
    assert (float(made.harden_mean), float(made.harden_std)) == (0.25, 0.5)


def test_options_for_models_are_refused_for_a_file_alone(tmp_path: Path, lines: Splits) -> None:
    path = str(line_file(tmp_path))
    with pytest.raises(InputError) as caught:
        loaded(path, lines, head="fc", mean=(0.5,), std=(0.5,))
    assert caught.value.seen == f"{path} with --head"
    assert caught.value.expected == "a file alone, which has its own"
    assert "--twin" in caught.value.instead


def test_a_file_for_other_classes_is_refused(tmp_path: Path, few: Splits, lines: Splits) -> None:
    with pytest.raises(InputError, match="for images"):
        loaded(str(line_file(tmp_path)), few)


# An artefact


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(MADE))
    return Path(shutil.copytree(MADE / "run", tmp_path / "run"))


def test_of_an_artefact_the_file_decides_and_the_checkpoint_gives_gradients(
    folder: Path, few: Splits
) -> None:
    found = loaded(str(folder), few)
    assert found.artefact is not None
    assert found.artefact.folder == folder
    assert found.setup.decided_by == f"{folder}/model.onnx in onnxruntime"
    assert found.setup.level == "A"
    x = few.test.batch(torch.arange(5)).x
    expected = torch.from_numpy(Artefact(folder)(x.numpy()))
    assert torch.equal(found.setup.judge(x), expected)
    torch.testing.assert_close(found.setup.model.logits(x).detach(), expected, atol=1e-4, rtol=0)


def test_gradients_of_another_network_are_refused(
    folder: Path, few: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ModelSpec.build

    def changed(self: ModelSpec, *given: Any) -> Any:
        model = build(self, *given)
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        return model

    monkeypatch.setattr(ModelSpec, "build", changed)
    with pytest.raises(InputError) as caught:
        loaded(str(folder), few)
    assert f"{folder}/checkpoint is not the network of {folder}/model.onnx (" in caught.value.seen
    assert caught.value.expected == "the weights that the file was exported from"
    assert caught.value.instead == "run or export again"


# A path that leads nowhere


def test_a_missing_folder_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_spec(ModelSpec(f"{tmp_path}/none"))
    assert caught.value.seen == f"model '{tmp_path}/none', where no folder is"
    assert "small, torchvision:NAME or module:function" in caught.value.expected
    assert caught.value.instead == "name the --out of a `harden run`"


@pytest.mark.parametrize("spec", ["small", "torchvision:resnet18", "a.b/c:function", "runs/a.onnx", "name"])
def test_what_may_be_a_model_is_left_to_its_loading(spec: str) -> None:
    check_spec(ModelSpec(spec))
    assert line_model().head_name == "1"


def test_a_folder_that_exists_is_none_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    check_spec(ModelSpec(str(tmp_path / "run")))
    (tmp_path / "run").rmdir()
    with pytest.raises(InputError, match="where no folder is"):
        check_spec(ModelSpec(str(tmp_path / "run")))
