"""Typer commands whose options are the fields of a dataclass.

An option is a field: its type and help text are the annotation (`Annotated[float, typer.Option(help=...)]`),
its default is the field's. The command's signature, and with it `--help`, shell completion and the options
that a file may set, are made from the fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

import typer

Options = TypeVar("Options")


def takes(options: type[Options]) -> Callable[[Callable[[typer.Context, Options], int]], Callable[..., None]]:
    """Decorate a function of (context, options) that returns an exit code: make it a command for typer.

    Args:
        options: a dataclass. Fields whose type is `Annotated` are options of the command; the others keep
            their defaults.
    """

    def decorate(function: Callable[[typer.Context, Options], int]) -> Callable[..., None]:
        def command(context: typer.Context, **values: Any) -> None:
            if code := function(context, options(**values)):
                raise typer.Exit(code)

        parameters = [_parameter("context", typer.Context), *parameters_of(options)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(command, name, getattr(function, name))
        return command

    return decorate


def parameters_of(options: type[Any]) -> tuple[inspect.Parameter, ...]:
    """The parameters of a command with these options, in the order of the fields."""
    hints = get_type_hints(options, include_extras=True)
    return tuple(
        _parameter(field.name, hints[field.name], field.default)
        for field in fields(options)
        if get_origin(hints[field.name]) is Annotated
    )


def _parameter(name: str, annotation: Any, default: Any = MISSING) -> inspect.Parameter:
    usual = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=usual, annotation=annotation)
