"""Options of `harden evaluate`: their defaults are those of the function, what is typed reaches its field."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from harden.cli.options.evaluate_options import EvaluateOptions
from harden.deployed import FileAccess, evaluate
from harden.evaluation.natural.extra_measures import ExtraMeasures
from harden.evaluation.suite_lookup import DEFAULT_SUITE, chosen
from harden.threats import Linf, from_name
from tests.cli.options.parsed import helps, parsed, refused

SHORT = ("small", "--data", "digits")


def test_model_and_data_are_required() -> None:
    assert "Missing argument" in refused(EvaluateOptions)
    assert "--data" in refused(EvaluateOptions, "small")


def test_defaults_are_those_of_the_function() -> None:
    options, function = parsed(EvaluateOptions, *SHORT), inspect.signature(evaluate).parameters
    for name in ("seed", "batch_size", "minutes", "journal"):
        assert getattr(options, name) == function[name].default, name
    assert chosen(options.attacks, options.steps, options.restarts) == DEFAULT_SUITE
    assert from_name(options.norm, options.eps) == Linf("8/255")
    access = FileAccess()
    assert (options.black_box, options.device) == (access.black_box, access.device)
    assert ExtraMeasures(options.decision_threshold, options.calibration, options.corruptions) == (
        ExtraMeasures()
    )
    assert (options.twin, options.certificate, options.force) == ("", None, False)


def test_flags_are_off_until_they_are_typed() -> None:
    flags = ("bfloat16", "calibration", "corruptions", "black_box", "force")
    options = parsed(EvaluateOptions, *SHORT)
    assert not any(getattr(options, name) for name in flags)
    for name in flags:
        typed = parsed(EvaluateOptions, *SHORT, f"--{name.replace('_', '-')}")
        assert [each for each in flags if getattr(typed, each)] == [name]


def test_what_is_typed_reaches_its_field(tmp_path: Path) -> None:
    words = {
        "--norm": "l1",
        "--eps": "1/2,1",
        "--weights": tmp_path / "w.safetensors",
        "--mean": "0.5",
        "--std": "0.25",
        "--head": "fc",
        "--output": "logits",
        "--attacks": "pgd",
        "--steps": 7,
        "--restarts": 2,
        "--decision-threshold": 0.25,
        "--minutes": 1.5,
        "--journal": tmp_path / "j",
        "--test-images": 5,
        "--batch-size": 9,
        "--seed": 3,
        "--device": "cuda",
        "--twin": "small",
        "--certificate": tmp_path / "c",
        "--json": tmp_path / "a.json",
    }
    options = parsed(EvaluateOptions, *SHORT, *(word for pair in words.items() for word in pair))
    for option, value in words.items():
        name = {"--json": "json_file"}.get(option, option.removeprefix("--").replace("-", "_"))
        assert getattr(options, name) == value, option
    assert (options.spec, options.data) == ("small", "digits")


def test_every_field_has_a_help_text() -> None:
    found = helps(EvaluateOptions)
    assert set(found) == {field.name for field in fields(EvaluateOptions)}
    assert all(found.values())


@pytest.mark.parametrize("words", [("--steps", "x"), ("--decision-threshold", "half"), ("--nothing",)])
def test_a_wrong_word_is_wrong_usage(words: tuple[str, ...]) -> None:
    assert words[0] in refused(EvaluateOptions, *SHORT, *words)


def test_options_can_not_be_changed() -> None:
    options = EvaluateOptions("small", "digits")
    with pytest.raises(FrozenInstanceError):
        options.seed = 1  # type: ignore[misc]  # wrong on purpose
