"""Options of `harden certify`: their defaults are those of the function, what is typed reaches its field."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from harden.cli.options.certify_options import CertifyOptions
from harden.deployed import certify
from harden.errors import InputError
from harden.evaluation import RadiusSearch
from harden.evaluation.suite_lookup import NAMES
from harden.threats import Linf, from_name
from tests.cli.options.parsed import helps, parsed, raised, refused


def test_the_file_alone_is_required() -> None:
    with pytest.raises(TypeError, match="spec"):
        CertifyOptions()  # type: ignore[call-arg]  # wrong on purpose
    assert "Missing argument" in refused(CertifyOptions)


def test_defaults_are_those_of_the_function() -> None:
    options, function = parsed(CertifyOptions, "model.onnx"), inspect.signature(certify).parameters
    for name in ("seed", "batch_size", "minutes", "device", "journal"):
        assert getattr(options, name) == function[name].default, name
    assert options.radius_steps == RadiusSearch().steps
    assert options.attacks in NAMES
    assert (options.method, options.vnnlib, options.witness) == ("", None, None)
    assert from_name(options.norm, options.eps) == Linf("8/255")
    assert options == CertifyOptions("model.onnx")


def test_what_is_typed_reaches_its_field(tmp_path: Path) -> None:
    words = {
        "--data": "digits",
        "--vnnlib": tmp_path / "p.vnnlib",
        "--norm": "l2",
        "--eps": "1/2",
        "--method": "ibp",
        "--radius-steps": 2,
        "--attacks": "pgd",
        "--minutes": 1.5,
        "--witness": tmp_path / "w.npy",
        "--journal": tmp_path / "j",
        "--test-images": 7,
        "--batch-size": 9,
        "--seed": 3,
        "--device": "cuda",
        "--json": tmp_path / "a.json",
    }
    options = parsed(CertifyOptions, "m.onnx", *(word for pair in words.items() for word in pair))
    for option, value in words.items():
        name = {"--json": "json_file"}.get(option, option.removeprefix("--").replace("-", "_"))
        assert getattr(options, name) == value, option
    assert options.spec == "m.onnx"


def test_every_field_has_a_help_text() -> None:
    found = helps(CertifyOptions)
    assert set(found) == {field.name for field in fields(CertifyOptions)}
    assert all(found.values())


@pytest.mark.parametrize("words", [("--radius-steps", "many"), ("--minutes", "x"), ("--nothing",)])
def test_a_wrong_word_is_wrong_usage(words: tuple[str, ...]) -> None:
    assert words[0] in refused(CertifyOptions, "m.onnx", *words)


@pytest.mark.parametrize("option", ["--witness", "--json"])
def test_a_file_that_can_not_be_written_is_refused_before_the_work(option: str, tmp_path: Path) -> None:
    error = raised(CertifyOptions, "m.onnx", option, tmp_path)
    assert isinstance(error, InputError)
    assert error.seen == f"{tmp_path} can't be written"


def test_options_can_not_be_changed() -> None:
    options = CertifyOptions("m.onnx")
    with pytest.raises(FrozenInstanceError):
        options.seed = 1  # type: ignore[misc]  # wrong on purpose
