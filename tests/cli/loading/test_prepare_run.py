"""Inputs of a run: options become settings, and what can be refused is refused before anything is read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harden.cli.loading import prepare_run as subject
from harden.cli.loading.prepare_run import model_spec, prepare, read_settings
from harden.cli.options.run_options import RunOptions
from harden.data import load
from harden.errors import InputError
from harden.evaluation.suite_lookup import DEFAULT_SUITE, SuiteChoice
from harden.hardening.model_spec import ModelSpec
from harden.recipe_names import RecipeNames
from harden.threats import L2, Linf
from harden.training import Budget

pytestmark = pytest.mark.usefixtures("rng_untouched")

EARLIER = Path(__file__).parents[2] / "earlier_versions" / "made" / "run"


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A data spec: 60 digits to train on, 20 to test on; training image 7 is test image 2."""
    digits = load("digits")
    train, test = digits.train.x[:60].clone(), digits.test.x[:20].clone()
    test[2] = train[7]
    arrays = {"x_train": train[:, 0], "x_test": test[:, 0]}
    labels = {"y_train": digits.train.y[:60], "y_test": digits.test.y[:20]}
    np.savez(tmp_path / "few.npz", **{name: each.numpy() for name, each in {**arrays, **labels}.items()})  # type: ignore[arg-type]
    return f"npz:{tmp_path / 'few.npz'}"


@pytest.fixture
def options(data: str, tmp_path: Path) -> RunOptions:
    standard = RecipeNames(finetune="standard")
    return RunOptions(data, tmp_path / "out", training=standard, drop_leaks=True, batch_size=16)


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def reading(*_: object, **__: object) -> None:
        raise AssertionError("data were read before the options were checked")

    monkeypatch.setattr(subject, "load", reading)


# Settings


def test_options_become_settings(options: RunOptions) -> None:
    given = replace(
        options,
        norm="l2",
        eps="1/2",
        budget="3epochs",
        attacks="pgd",
        steps=7,
        restarts=2,
        prove="crown",
        prove_minutes=2.0,
        evaluate_minutes=5.0,
        bfloat16=True,
        auto_batch=True,
        seed=9,
    )
    found = read_settings(given)
    assert found.threat == L2("1/2")
    assert found.budget == Budget.parse("3epochs")
    assert found.suite == SuiteChoice("pgd", 7, 2)
    assert [attempt.attack.steps for attempt in found.attempts] == [7, 7]  # type: ignore[attr-defined]  # of PGD
    # Whatever precision training uses, these attacks decide the certificate's numbers.
    assert {attempt.precision for attempt in found.attempts} == {torch.float32}
    assert found.search is not None
    assert found.search.minutes == 2.0
    assert (found.minutes, found.bfloat16, found.auto_batch, found.seed) == (5.0, True, True, 9)
    assert found.device == torch.device("cpu")


def test_defaults_are_the_suite_standard_without_proofs(options: RunOptions) -> None:
    found = read_settings(options)
    assert found.threat == Linf("8/255")
    assert found.suite == DEFAULT_SUITE
    assert (found.search, found.minutes, found.seed) == (None, None, 0)


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize(
    ("changed", "seen", "expected", "instead"),
    [
        ({"eps": "0"}, "--eps 0", "a budget to harden against", "write --eps 8/255"),
        ({"batch_size": 0}, "a batch size of 0", "at least 1", "positive batch size"),
        (
            {"checkpoint_every": -1.0},
            "--checkpoint-every -1",
            "seconds, 0 or more",
            "write --checkpoint-every 30",
        ),
        ({"checkpoint_every": float("inf")}, "--checkpoint-every inf", "seconds", "checkpoint-every 30"),
        ({"checkpoint_every": float("nan")}, "--checkpoint-every nan", "seconds", "checkpoint-every 30"),
        (
            {"unlabelled": "digits"},
            "--unlabelled digits with --pretrain none",
            "a pretraining that uses them",
            "write --pretrain simclr",
        ),
        ({"force": True, "resume": True}, "--force with --resume", "one of them", "leave one out"),
        ({"norm": "l3"}, "l3", "", ""),
        ({"budget": "soon"}, "soon", "", ""),
        ({"attacks": "all"}, "--attacks all", "", ""),
        ({"device": "tpu:x"}, "tpu:x", "", ""),
        ({"prove": "hard"}, "--prove hard", "", ""),
        ({"evaluate_minutes": 0.0}, "0.0 minutes", "a positive number", ""),
        ({"log": ["wandb:x"]}, "--log 'wandb:x'", "tensorboard:DIR or mlflow:URI", ""),
        ({"training": RecipeNames(finetune="magic")}, "magic", "", ""),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_wrong_value_is_refused_before_anything_is_read(
    options: RunOptions, changed: dict[str, Any], seen: str, expected: str, instead: str
) -> None:
    with pytest.raises(InputError) as caught:
        prepare(replace(options, **changed))
    assert seen in caught.value.seen
    assert expected in caught.value.expected
    assert instead in caught.value.instead
    assert not options.out.exists()


@pytest.mark.parametrize("seconds", [0.0, 1e6])
def test_states_may_be_kept_as_often_as_one_likes(options: RunOptions, seconds: float) -> None:
    assert read_settings(replace(options, checkpoint_every=seconds)).seed == 0


def test_an_earlier_result_is_replaced_or_resumed_on_request_alone(options: RunOptions) -> None:
    shutil.copytree(EARLIER, options.out)
    before = sorted(each.name for each in options.out.iterdir())
    with pytest.raises(InputError) as caught:
        read_settings(options)
    assert caught.value.instead.endswith(", or --resume to have its result printed again")
    for request in ({"resume": True}, {"force": True}):
        assert read_settings(replace(options, **request)).threat == Linf("8/255")  # type: ignore[arg-type]
    assert sorted(each.name for each in options.out.iterdir()) == before


def test_a_folder_of_other_things_is_refused_whatever_is_requested(options: RunOptions) -> None:
    options.out.mkdir()
    (options.out / "notes.txt").write_text("mine")
    for request in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(InputError, match=r"notes\.txt.*; expected an empty folder or an artefact"):
            read_settings(replace(options, **request))  # type: ignore[arg-type]  # fields by their names
    assert (options.out / "notes.txt").read_text() == "mine"


def test_the_model_that_is_hardened_is_not_replaced_by_its_result(options: RunOptions) -> None:
    shutil.copytree(EARLIER, options.out)
    with pytest.raises(InputError):
        read_settings(replace(options, model=str(options.out), force=True))


def test_the_model_is_the_one_that_is_named(tmp_path: Path, options: RunOptions) -> None:
    given = replace(
        options,
        model="torchvision:resnet18",
        weights=tmp_path / "w.safetensors",
        mean="0.25",
        std="0.5",
        head="fc",
        output="0",
    )
    assert model_spec(given) == ModelSpec(
        "torchvision:resnet18", str(tmp_path / "w.safetensors"), (0.25,), (0.5,), "fc", "0"
    )
    assert model_spec(options) == ModelSpec("small")


# Data, recipe and model


def test_data_model_and_recipe_are_loaded_together(options: RunOptions) -> None:
    found = prepare(options)
    assert found.settings == read_settings(options)
    assert (len(found.splits.train), found.dropped, len(found.test)) == (59, 1, 20)
    assert (found.batch_size, found.unlabelled, found.trained) == (16, None, False)
    assert type(found.recipe.finetune).__name__ == "Standard"
    assert found.model.logits(found.splits.test.batch(torch.arange(2)).x).shape == (2, 10)
    assert list(found.notes) == ["model.json"]
    # Fresh weights depend on the seed.
    x = found.splits.test.batch(torch.arange(2)).x
    assert torch.equal(prepare(options).model.logits(x), found.model.logits(x))
    assert not torch.equal(prepare(replace(options, seed=1)).model.logits(x), found.model.logits(x))


def test_test_images_in_training_are_refused(options: RunOptions) -> None:
    with pytest.raises(InputError, match="write --drop-leaks to leave these 1 images out"):
        prepare(replace(options, drop_leaks=False))


def test_the_evaluation_is_of_a_sample_where_one_is_requested(options: RunOptions) -> None:
    assert len(prepare(replace(options, test_images=10)).test) == 10


def test_class_weights_are_those_of_the_training_images(options: RunOptions) -> None:
    names = replace(options.training, class_weights="balanced")
    found = prepare(replace(options, training=names))
    weights = getattr(found.recipe.finetune, "class_weights", ())
    counts = torch.bincount(found.splits.train.y, minlength=10)
    assert weights == pytest.approx((59 / (10 * counts)).tolist())


def test_other_images_are_for_pretraining(options: RunOptions, data: str) -> None:
    names = replace(options.training, pretrain="simclr")
    own = prepare(replace(options, training=names))
    assert own.unlabelled is None
    other = prepare(replace(options, training=names, unlabelled=data))
    assert other.unlabelled is not None
    # Without the one that is a test image.
    assert len(other.unlabelled) == 59


def test_a_network_with_another_answer_each_time_is_refused(options: RunOptions, models: str) -> None:
    """The export would refuse it too, with the whole budget spent."""
    with torch.random.fork_rng(devices=[]), pytest.raises(InputError) as caught:
        prepare(replace(options, model=f"{models}:noisy"))
    assert caught.value.instead
    with pytest.raises(InputError, match=f"{models}:text"):
        prepare(replace(options, model=f"{models}:text"))


def test_an_objective_that_the_threat_does_not_support_is_refused(options: RunOptions) -> None:
    certified = replace(options, norm="l2", eps="1/2", training=RecipeNames(finetune="ibp"))
    with pytest.raises(InputError, match="L-inf"):
        prepare(certified)
