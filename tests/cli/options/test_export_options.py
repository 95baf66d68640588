"""Options of `harden export`: their defaults are those of a claim, and what is typed reaches its field."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from harden.artefact.measure_file import Claim
from harden.cli.options.export_options import ExportOptions
from harden.cli.options.run_options import RunOptions
from harden.evaluation.proofs.methods import search_named
from harden.evaluation.suite_lookup import DEFAULT_SUITE, chosen
from harden.threats import Linf, from_name
from tests.cli.options.parsed import helps, parsed, refused

SHORT = ("small", "--data", "digits", "--out", "made")


def test_model_data_and_folder_are_required() -> None:
    assert "Missing argument" in refused(ExportOptions)
    assert "--data" in refused(ExportOptions, "small", "--out", "made")
    assert "--out" in refused(ExportOptions, "small", "--data", "digits")


def test_defaults_are_those_of_a_claim() -> None:
    options, claim = parsed(ExportOptions, *SHORT), Claim(Linf("8/255"))
    assert from_name(options.norm, options.eps) == claim.threat
    assert chosen(options.attacks, options.steps, options.restarts) == DEFAULT_SUITE
    assert search_named(options.prove, options.prove_minutes) is claim.search is None
    assert (options.seed, options.evaluate_minutes) == (claim.seed, claim.minutes)
    assert not options.force
    assert not options.bfloat16


def test_options_that_a_run_has_too_have_its_defaults() -> None:
    """An export of a run's weights makes the claim that the run makes."""
    shared = {field.name for field in fields(ExportOptions)} & {field.name for field in fields(RunOptions)}
    export, run = ExportOptions("small", "digits", Path("made")), RunOptions("digits", Path("made"))
    assert len(shared) > 15
    for name in shared:
        assert getattr(export, name) == getattr(run, name), name


def test_what_is_typed_reaches_its_field(tmp_path: Path) -> None:
    words = {
        "--norm": "l1",
        "--eps": "1/2",
        "--weights": tmp_path / "w.safetensors",
        "--mean": "0.5",
        "--std": "0.25",
        "--head": "fc",
        "--output": "logits",
        "--attacks": "pgd",
        "--steps": 7,
        "--restarts": 2,
        "--prove": "crown",
        "--prove-minutes": 2.5,
        "--evaluate-minutes": 1.5,
        "--test-images": 5,
        "--seed": 3,
        "--json": tmp_path / "a.json",
    }
    options = parsed(ExportOptions, *SHORT, *(word for pair in words.items() for word in pair), "--force")
    for option, value in words.items():
        name = {"--json": "json_file"}.get(option, option.removeprefix("--").replace("-", "_"))
        assert getattr(options, name) == value, option
    assert (options.spec, options.data, options.out) == ("small", "digits", Path("made"))
    assert options.force


def test_every_field_has_a_help_text() -> None:
    found = helps(ExportOptions)
    assert set(found) == {field.name for field in fields(ExportOptions)}
    assert all(found.values())


def test_options_can_not_be_changed() -> None:
    options = ExportOptions("small", "digits", Path("made"))
    with pytest.raises(FrozenInstanceError):
        options.seed = 1  # type: ignore[misc]  # wrong on purpose
