"""The gate's commands: what is typed reaches the commands that it is for, and their codes come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harden.cli.gate_app import DEFAULT, baseline_app, register
from harden.regression.measure import USUAL_BATCH, CheckSpec
from harden.regression.repository_setup import GateTarget
from harden.regression.timing.measure_speed import SpeedCheck
from harden.regression.verdict import Rule

SHORT = ("m.onnx", "--data", "digits", "--config", "none")
Run = Callable[..., Any]


@pytest.fixture
def run() -> Run:
    """Runs the gate's commands by themselves."""
    app = typer.Typer()
    register(app)

    def invoked(*words: object) -> Any:
        return CliRunner().invoke(app, [str(word) for word in words])

    return invoked


class Call:
    """A call of a command: what it was called with."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.given: tuple[Any, ...] = ()

    def __call__(self, *given: Any) -> int:
        self.given = given
        return self.code


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Call]:
    """Puts a function that keeps its arguments in the place of a command's."""

    def put(module: str, name: str, code: int = 0) -> Call:
        call = Call(code)
        monkeypatch.setattr(f"harden.cli.commands.{module}.{name}", call)
        return call

    return put


def test_the_commands_are_registered(run: Run) -> None:
    said = run("--help").output
    assert all(name in said for name in ("check", "baseline", "init"))
    assert {command.name or command.callback.__name__ for command in baseline_app.registered_commands} == {  # type: ignore[union-attr]
        *("update", "show", "diff"),
    }


# check


def test_a_check_has_the_rule_of_the_manual_by_default(run: Run, stand_in: Callable[..., Call]) -> None:
    call = stand_in("check", "check")
    result = run("check", *SHORT)
    assert result.exit_code == 0, result.output
    model, data, gate, files = call.given
    assert (model, data) == ("m.onnx", "digits")
    assert gate.baseline == DEFAULT == Path("robustness-baseline.json")
    assert gate.rule == Rule() == Rule(0.02, 0.05, ())
    assert (gate.inconclusive, gate.batch_size, gate.label) == ("warn", USUAL_BATCH, "")
    assert (gate.bench, gate.minutes, gate.access.black_box, gate.access.mean) == (None, None, False, None)
    assert gate.made == ("--norm", "linf", "--eps", "8/255")
    assert (files.junit, files.markdown, files.json, files.html) == (None, None, None, None)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_code_of_a_check_is_that_of_its_command(
    run: Run, stand_in: Callable[..., Call], code: int
) -> None:
    stand_in("check", "check", code)
    assert run("check", *SHORT).exit_code == code


def test_what_is_typed_reaches_the_check(run: Run, stand_in: Callable[..., Call], tmp_path: Path) -> None:
    call = stand_in("check", "check")
    paths = {name: tmp_path / name for name in ("x.xml", "x.md", "x.html", "x.json")}
    result = run(
        *("check", *SHORT, "--baseline", "b.json", "--margin", "1%", "--alpha", "0.01"),
        *("--floor", "40%", "--clean-floor", "0.9", "--certified-floor", "2pp", "--inconclusive", "fail"),
        *("--label", "mine", "--black-box", "--minutes", "2.5", "--batch-size", "9"),
        *("--mean", "0.25", "--std", "0.5"),
        *("--junit", paths["x.xml"], "--md", paths["x.md"], "--html", paths["x.html"]),
        *("--json", paths["x.json"]),
    )
    assert result.exit_code == 0, result.output
    _, _, gate, files = call.given
    assert gate.baseline == Path("b.json")
    assert gate.rule == Rule(0.01, 0.01, (("robust", 0.4), ("clean", 0.9), ("certified", 0.02)))
    assert (gate.inconclusive, gate.label, gate.minutes, gate.batch_size) == ("fail", "mine", 2.5, 9)
    assert (gate.access.black_box, gate.access.mean, gate.access.std) == (True, (0.25,), (0.5,))
    assert (files.junit, files.markdown, files.html, files.json) == tuple(paths.values())


def test_speed_is_compared_where_a_file_is_named_and_then_alone(
    run: Run, stand_in: Callable[..., Call]
) -> None:
    call = stand_in("check", "check")
    bench = ("--bench", "old.onnx", "--bench-rounds", "7", "--bench-margin", "20%", "--bench-images", "8")
    assert run("check", *SHORT, *bench, "--alpha", "0.1").exit_code == 0
    gate = call.given[2]
    assert gate.bench == SpeedCheck("old.onnx", 7, 0.2, 0.1, 8)
    assert gate.baseline is None
    assert run("check", *SHORT, *bench, "--baseline", "b.json").exit_code == 0
    assert call.given[2].baseline == Path("b.json")


def test_a_baseline_would_be_made_with_the_settings_of_the_file(
    run: Run, stand_in: Callable[..., Call], tmp_path: Path
) -> None:
    config = tmp_path / "harden.toml"
    config.write_text('norm = "l2"\neps = "1/2"\ncertify = true\n')
    call = stand_in("check", "check")
    result = run("check", "m.onnx", "--data", "digits", "--config", config)
    assert result.exit_code == 0, result.output
    made = call.given[2].made
    assert made[:4] == ("--norm", "l2", "--eps", "1/2")
    assert "--certify" in made


# baseline


def test_an_update_measures_what_is_typed(
    run: Run, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., Call], tmp_path: Path
) -> None:
    call = stand_in("baseline", "update", 1)
    made: list[Any] = []

    def gate_file(*given: Any) -> str:
        made.append(given)
        return "the measurer"

    monkeypatch.setattr("harden.cli.loading.gate_inputs.gate_file", gate_file)
    result = run(
        *("baseline", "update", *SHORT, "--norm", "l2", "--eps", "1/2", "--steps", "7", "--certify"),
        *("--test-images", "5", "--label", "mine", "--baseline", "b.json", "--accept-regression", "so"),
        *("--batch-size", "9", "--seed", "3", "--json", tmp_path / "a.json", "--black-box"),
    )
    assert result.exit_code == 1, result.output
    measurer, data, spec, baseline, reason, json_file = call.given
    assert measurer == "the measurer"
    assert spec == CheckSpec("l2", "1/2", "pgd", 7, 3, 5, 3, True, "mine")
    assert (data, baseline, reason, json_file) == ("digits", Path("b.json"), "so", tmp_path / "a.json")
    ((model, spec_of_data, access, batch_size),) = made
    assert (model, spec_of_data, access.black_box, batch_size) == ("m.onnx", "digits", True, 9)


def test_an_update_is_of_the_suite_standard_by_default(
    run: Run, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., Call]
) -> None:
    call = stand_in("baseline", "update")
    monkeypatch.setattr("harden.cli.loading.gate_inputs.gate_file", lambda *_: None)
    assert run("baseline", "update", *SHORT).exit_code == 0
    _, _, spec, baseline, reason, _ = call.given
    assert spec == CheckSpec("linf", "8/255", "standard")
    assert (baseline, reason) == (DEFAULT, None)


def test_a_baseline_is_shown_and_two_are_compared(run: Run, stand_in: Callable[..., Call]) -> None:
    show, diff = stand_in("baseline", "show"), stand_in("baseline", "diff", 1)
    assert run("baseline", "show", "--baseline", "b.json").exit_code == 0
    assert show.given == (Path("b.json"),)
    result = run("baseline", "diff", "old.json", "new.json", "--margin", "1pp", "--alpha", "0.1")
    assert result.exit_code == 1
    assert diff.given == (Path("old.json"), Path("new.json"), Rule(0.01, 0.1))


# init


def test_a_repository_is_set_up_for_its_target(run: Run, stand_in: Callable[..., Call]) -> None:
    call = stand_in("init", "init")
    assert run("init").exit_code == 0
    assert call.given == (Path(), GateTarget("model.onnx", "npz:test.npz", "linf", "8/255", ""), False)
    words = ("--model", "a.onnx", "--data", "npz:b.npz", "--norm", "l2", "--eps", "1/2", "--force")
    assert run("init", "there", *words, "--install", "harden-vision==1").exit_code == 0
    assert call.given == (
        Path("there"),
        GateTarget("a.onnx", "npz:b.npz", "l2", "1/2", "harden-vision==1"),
        True,
    )


@pytest.mark.parametrize(
    "words",
    [("check",), ("check", "m.onnx"), ("baseline", "update", "m.onnx"), ("baseline", "diff", "one.json")],
)
def test_what_is_missing_is_wrong_usage(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Missing" in result.output
