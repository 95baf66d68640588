"""Options as a command line gives them, of a command that does nothing but keep them."""

from __future__ import annotations

from typing import Any, TypeVar

import typer
from typer.testing import CliRunner

from harden.cli.options.signature import parameters_of, takes

Options = TypeVar("Options")


def parsed(options: type[Options], *words: object) -> Options:
    """The options that these words are read as."""
    kept: list[Options] = []

    def command(context: typer.Context, given: Options) -> int:
        kept.append(given)
        return 0

    _run(options, command, words)
    return kept[0]


def refused(options: type[Any], *words: object) -> str:
    """The message with which these words are refused as wrong usage."""
    result = _invoked(options, lambda context, given: 0, words)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def raised(options: type[Any], *words: object) -> BaseException | None:
    """The error that an option's own check raises."""
    found: BaseException | None = _invoked(options, lambda context, given: 0, words).exception
    return found


def helps(options: type[Any]) -> dict[str, str]:
    """The help text of each option or argument, by its field."""
    return {each.name: each.annotation.__metadata__[0].help for each in parameters_of(options)}


def _run(options: type[Any], command: Any, words: tuple[object, ...]) -> None:
    result = _invoked(options, command, words)
    assert result.exit_code == 0, result.output


def _invoked(options: type[Any], command: Any, words: tuple[object, ...]) -> Any:
    app = typer.Typer()
    app.command()(takes(options)(command))
    return CliRunner().invoke(app, [str(word) for word in (*words, "--config", "none")])
