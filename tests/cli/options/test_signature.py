"""Commands whose signature is made from the fields of a dataclass."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from harden.cli.app import run
from harden.cli.options.run_options import RunOptions
from harden.cli.options.signature import parameters_of, takes
from harden.recipe_names import RecipeNames


@dataclass(frozen=True)
class Options:
    name: Annotated[str, typer.Argument(help="Of the thing.")]
    count: Annotated[int, typer.Option("--count", "-c", help="So many.")] = 3
    many: Annotated[list[str] | None, typer.Option("--also", help="More.")] = None
    quiet: Annotated[bool, typer.Option("--quiet", help="Silence.")] = False
    computed: dict[str, int] = field(default_factory=dict)


def application(seen: list[Options], code: int = 0) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @takes(Options)
    def thing(context: typer.Context, options: Options) -> int:
        """Do the thing."""
        assert context.info_name == "thing"
        seen.append(options)
        return code

    return app


def test_values_and_defaults_arrive_as_the_dataclass() -> None:
    seen: list[Options] = []
    app = application(seen)
    assert CliRunner().invoke(app, ["x"]).exit_code == 0
    assert CliRunner().invoke(app, ["y", "-c", "7", "--also", "a", "--also", "b", "--quiet"]).exit_code == 0
    assert seen == [Options("x"), Options("y", 7, ["a", "b"], True)]


def test_the_code_that_is_returned_is_the_exit_code() -> None:
    assert CliRunner().invoke(application([], 5), ["x"]).exit_code == 5


def test_wrong_values_are_refused_before_the_function_is_called() -> None:
    seen: list[Options] = []
    for words in (["x", "--count", "many"], ["x", "--computed", "1"], []):
        assert CliRunner().invoke(application(seen), words).exit_code == 2
    assert seen == []


def test_help_has_every_option_with_its_text_and_default() -> None:
    out = CliRunner().invoke(application([]), ["--help"]).output
    for text in (
        "Do the thing.",
        "--count",
        "So many.",
        "[default: 3]",
        "--also",
        "--quiet",
        "Of the thing.",
    ):
        assert text in out
    assert "computed" not in out


def test_the_command_of_run_has_the_fields_of_its_dataclass_and_no_others() -> None:
    signature = inspect.signature(run)
    own = [each.name for each in fields(RunOptions) if each.name != "origins"]
    at = own.index("training")
    names = [*own[:at], *(each.name for each in fields(RecipeNames)), *own[at + 1 :]]
    assert list(signature.parameters) == ["context", *names]
    made = {each.name: each.default for each in parameters_of(RunOptions)}
    assert {name: signature.parameters[name].default for name in names} == made
    assert (run.__name__, run.__module__) == ("run", "harden.cli.app")


@pytest.mark.parametrize("name", ["data", "out"])
def test_a_field_without_default_is_required(name: str) -> None:
    (parameter,) = (each for each in parameters_of(RunOptions) if each.name == name)
    assert parameter.default is inspect.Parameter.empty
