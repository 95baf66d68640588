"""The inputs of a run in lines and as JSON: both say the same of data, model, threat, recipe and budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harden.artefact.parity.parity_gate import Parity
from harden.artefact.parity.trial_export import Exportability
from harden.cli.options.run_options import RunOptions
from harden.cli.output.run_inputs_table import balance, inputs_as_json, print_inputs, print_trial_export
from harden.data import Examples, Splits
from harden.description import describe
from harden.evaluation.suite_lookup import DEFAULT_SUITE
from harden.hardening.recipes.named_recipes import recipe
from harden.hardening.run_inputs import RunInputs, RunSettings
from harden.recipe_names import RecipeNames
from harden.threats import Linf
from harden.training import Budget
from tests.deployed.lines import line_model

OPTIONS = RunOptions("npz:few.npz", Path("made"), training=RecipeNames(finetune="trades"))


def examples(*counts: int, groups: int | None = None) -> Examples:
    """So many images of each class, one of 4 pixels after the other."""
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    x = torch.linspace(0, 1, 4 * len(y)).view(-1, 1, 2, 2)
    names = tuple(f"c{label}" for label in range(len(counts)))
    return Examples(x, y, names, "few", None if groups is None else torch.arange(len(y)) % groups)


def inputs(train: Examples | None = None, **more: object) -> RunInputs:
    part = train or examples(12, 8)
    test = examples(3, 2)
    settings = RunSettings(Linf("8/255"), Budget.parse("300E"), DEFAULT_SUITE, (), torch.device("cpu"))
    made = RunInputs(settings, Splits(part, test, "few"), test, recipe(OPTIONS.training, 1), line_model(), 16)
    return replace(made, **more)  # type: ignore[arg-type]  # fields by their names


def lines(capsys: pytest.CaptureFixture[str], given: RunInputs) -> list[str]:
    capsys.readouterr()
    print_inputs(OPTIONS, given)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_data_model_threat_recipe_and_budget_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    given = inputs()
    found = lines(capsys, given)
    assert found == [
        "data few: 20 to train on, 5 to test on",
        "2 classes: c0 12, c1 8; images of 1x2x2",
        f"model small: {given.model.describe()}",
        f"threat {given.settings.threat} recipe none + trades budget {given.settings.budget}",
        " ".join(f"{given.recipe.optimiser}, {given.recipe.schedule}, float32".split()),
    ]


def test_what_is_special_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    weighted = recipe(OPTIONS.training, 1, (0.5, 1.5))
    given = inputs(dropped=3, unlabelled=examples(30), recipe=replace(weighted, bfloat16=True))
    given = replace(given, splits=replace(given.splits, remarks=("read from one file", "2 left out")))
    found = lines(capsys, given)
    assert found[1] == "read from one file; 2 left out"
    assert "3 training images left out: they are test images too" in found
    assert "30 images of few for pretraining" in found
    assert "class weights 0.5, 1.5" in found
    assert any(line.endswith("bfloat16 where the network can") for line in found)


def test_groups_are_not_divided_and_their_share_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    grouped = inputs(examples(20, 20, groups=10))
    (line,) = (line for line in lines(capsys, grouped) if "groups" in line)
    held_out = grouped.held_out
    assert 0 < held_out < 40
    assert line.startswith("10 groups of training images, none split: ")
    assert line.endswith(f"{held_out} images ({100 * held_out / 40:.3g} %) held out for validation")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((3, 2), "2 classes: c0 3, c1 2"),
        ((2, 0, 1), "3 classes: c0 2, c1 0, c2 1"),
        ((2, 1, 0), "3 classes: c0 2, c1 1, c2 0"),
        ((1,) * 10, "10 classes: " + ", ".join(f"c{k} 1" for k in range(10))),
        ((5, *(1,) * 9, 7), "11 classes of 1 to 7 training images"),
    ],
)
def test_up_to_ten_classes_are_named(counts: tuple[int, ...], said: str) -> None:
    assert balance(examples(*counts)) == said


@pytest.mark.parametrize("proofs", [False, True])
def test_a_trial_export_says_its_errors_and_whether_it_can_be_bounded(
    proofs: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_trial_export(Exportability(Parity(1e-4, 2.5e-6, (1, 3, 5)), 1.25), proofs=proofs)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(
        "export tried before training, in 1.2 s: logits within 2.5e-06 of the network's, 1.0e-04 allowed"
    )
    assert said.endswith("every operation has a rule for bounds") is proofs


def test_json_says_what_the_lines_say() -> None:
    given = inputs(dropped=3, unlabelled=examples(30))
    said = json.loads(json.dumps(inputs_as_json(OPTIONS, given)))
    assert said["data"] == {
        "name": "few",
        "train": 20,
        "test": 5,
        "dropped": 3,
        "read": [],
        "groups": None,
        "unlabelled": 30,
        "classes": {"c0": 12, "c1": 8},
    }
    assert said["model"] == {"spec": "small", "found": given.model.describe()}
    assert said["threat"] == {"norm": "linf", "eps": "8/255", "bounds": [0.0, 1.0]}
    assert (said["recipe"]["pretrain"], said["recipe"]["finetune"]) == ("none", "trades")
    assert said["recipe"]["described"] == json.loads(json.dumps(describe(given.recipe)))
    assert (said["budget"], said["batch_size"]) == (str(given.settings.budget), 16)


def test_json_counts_groups_and_says_where_nothing_is_unlabelled() -> None:
    data = inputs_as_json(OPTIONS, inputs(examples(20, 20, groups=10)))["data"]
    assert (data["groups"], data["unlabelled"]) == (10, None)
