"""ModelSpec: what the command line says about a model, and how a folder remembers it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER
from harden.data import Examples, Splits
from harden.errors import InputError
from harden.hardening.model_spec import MODEL_FILE, ModelSpec
from harden.models import float32_copy
from harden.training.checkpointing.weights_file import save_weights

MODULE = """
import torch
from torch import nn
import harden

class Parts(nn.Module):
    def __init__(self, num_classes, dtype):
        super().__init__()
        self.fc = nn.Linear(48, num_classes, dtype=dtype)
        self.auxiliary = nn.Linear(48, 2, dtype=dtype)
    def forward(self, x):
        return {"scores": self.fc(x.flatten(1)), "aux": self.auxiliary(x.flatten(1))}, x

class First(Parts):
    def forward(self, x):
        return super().forward(x)[0]["scores"], x

def parts(num_classes):
    return First(num_classes, torch.float32)

def low(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, num_classes, dtype=torch.bfloat16))

def compiled(num_classes):
    inner = torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(48, num_classes)), backend="eager")
    return nn.Sequential(inner, nn.Identity())

def classifier(num_classes):
    return harden.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(48, num_classes)), (0.5,), (0.5,))

number = 3
"""


def splits(channels: int = 3, size: int = 4, classes: int = 3) -> Splits:
    x = torch.rand(6, channels, size, size, generator=torch.Generator().manual_seed(0))
    names = tuple(str(number) for number in range(classes))
    examples = Examples(x, torch.arange(6) % classes, names, "test")
    return Splits(examples, examples, "test")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_networks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_networks"
    sys.modules.pop("own_networks", None)


def test_head_and_output_are_taken_and_remembered(module: str, tmp_path: Path) -> None:
    spec = ModelSpec.of(f"{module}:parts", None, "0.5", "0.25", head="fc", output="0")
    model = spec.build(splits())
    assert (model.head_name, model.output) == ("fc", 0)
    assert model(splits().test.x).shape == (6, 3)
    save_weights(model, tmp_path / "run" / CHECKPOINT_FOLDER)
    spec.remember(tmp_path / "run")
    again = ModelSpec(str(tmp_path / "run"))
    assert again.resolved() == spec
    restored = again.build(splits(), seed=5)
    assert (restored.head_name, restored.output) == ("fc", 0)
    assert torch.equal(restored(splits().test.x), model(splits().test.x))


@pytest.mark.parametrize(
    ("typed", "output"), [("", None), ("0", 0), ("-1", -1), ("scores", "scores"), ("1x", "1x"), ("-", "-")]
)
def test_a_number_is_a_position(typed: str, output: str | int | None) -> None:
    assert ModelSpec("small", output=typed).build(splits()).output == output


def test_without_head_the_output_is_refused_with_what_to_write(module: str) -> None:
    model = ModelSpec(f"{module}:parts").build(splits())
    with pytest.raises(InputError, match=r"returned a tuple of 2.*output=0"):
        model(splits().test.x)


def test_a_folder_of_an_older_version_says_nothing_of_head_and_output(tmp_path: Path) -> None:
    spec = ModelSpec("small", mean=(0.5,), std=(0.5,))
    save_weights(spec.build(splits()), tmp_path / CHECKPOINT_FOLDER)
    spec.remember(tmp_path)
    path = tmp_path / CHECKPOINT_FOLDER / MODEL_FILE
    stored = json.loads(path.read_text())
    assert stored.pop("head") == stored.pop("output") == ""
    path.write_text(json.dumps(stored))
    assert ModelSpec(str(tmp_path)).resolved() == spec
    ModelSpec(str(tmp_path)).build(splits())


def test_a_folder_names_no_place_on_the_machine(module: str, tmp_path: Path) -> None:
    ModelSpec(f"{module}:parts", weights=str(tmp_path / "w.safetensors")).remember(tmp_path / "run")
    text = (tmp_path / "run" / CHECKPOINT_FOLDER / MODEL_FILE).read_text()
    assert str(tmp_path) not in text


@pytest.mark.parametrize("name", ["low", "compiled"])
@pytest.mark.parametrize("single", [False, True], ids=["as it is", "trained in float32"])
def test_a_folder_gives_back_any_network(name: str, single: bool, module: str, tmp_path: Path) -> None:
    """bfloat16 weights are trained in float32; a compiled part's weights have a name of their own."""
    spec = ModelSpec(f"{module}:{name}")
    model = spec.build(splits())
    model = float32_copy(model) if single else model
    save_weights(model, tmp_path / CHECKPOINT_FOLDER)
    spec.remember(tmp_path)
    again = ModelSpec(str(tmp_path)).build(splits(), seed=9)
    assert again.state_dict().keys() == model.state_dict().keys()
    for key, value in again.state_dict().items():
        assert value.dtype == model.state_dict()[key].dtype
        assert torch.equal(value, model.state_dict()[key])


def test_options_that_would_be_ignored_are_refused(module: str, tmp_path: Path) -> None:
    ModelSpec("small").remember(tmp_path)
    with pytest.raises(
        InputError, match=r"with --mean and --std and --output; expected a run's folder alone"
    ):
        ModelSpec(str(tmp_path), None, (0.5,), (0.5,), "", "0").build(splits())
    with pytest.raises(InputError, match=r"which returns a harden.Classifier, with --head; expected"):
        ModelSpec(f"{module}:classifier", head="1").build(splits())
    assert ModelSpec(f"{module}:classifier").build(splits()).harden_mean is not None


def test_a_module_that_is_elsewhere_is_said_with_what_to_do(tmp_path: Path) -> None:
    ModelSpec("not_here:network").remember(tmp_path)
    with pytest.raises(InputError) as caught:
        ModelSpec(str(tmp_path)).build(splits())
    assert caught.value.seen == "not_here:network, whose module 'not_here' is not found from here"
    assert "change to the folder that holds not_here" in caught.value.instead
    assert "PYTHONPATH" in caught.value.instead
    assert "\n" not in str(caught.value)


def test_a_module_that_fails_is_not_called_missing(module: str, tmp_path: Path) -> None:
    (tmp_path / "broken_network.py").write_text("import no_such_package_at_all\n")
    for spec, seen in (
        ("broken_network:network", "No module named 'no_such_package_at_all'"),
        (f"{module}:nothing", "has no attribute 'nothing'"),
    ):
        with pytest.raises(InputError) as caught:
            ModelSpec(spec).build(splits())
        assert seen in caught.value.seen
        assert "PYTHONPATH" not in caught.value.instead
    with pytest.raises(InputError, match="number, a int; expected a function"):
        ModelSpec(f"{module}:number").build(splits())


@pytest.mark.parametrize(
    "stored",
    [
        {"spec": 0.5, "mean": None, "std": None},
        {"spec": "", "mean": None, "std": None},
        {"spec": "small", "mean": "small", "std": None},
        {"spec": "small", "mean": [None], "std": [1.0]},
        {"spec": "small", "mean": [True], "std": [1.0]},
        {"spec": "small", "mean": None, "std": None, "head": 3},
        {"spec": "small"},
        ["small"],
        "small",
        None,
    ],
    ids=str,
)
def test_a_damaged_model_file_is_refused_on_one_line(tmp_path: Path, stored: object) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="what `harden run` wrote; run again; it is damaged") as caught:
        ModelSpec(str(tmp_path)).resolved()
    assert "\n" not in str(caught.value)


def test_a_folder_of_a_built_in_name_does_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small" / "checkpoint").mkdir(parents=True)
    (tmp_path / "small" / "checkpoint" / "model.json").write_text(
        json.dumps({"spec": "small", "mean": None, "std": None})
    )
    assert ModelSpec("small").folder is None
    assert ModelSpec("small").resolved() == ModelSpec("small")
    # The folder is there by its path, and what it remembers is the built-in network, not itself.
    assert ModelSpec("./small").folder == Path("small")
    assert ModelSpec("./small").resolved() == ModelSpec("small")
