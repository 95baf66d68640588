"""Typer commands whose options are the fields of a dataclass.

An option is a field: its type and help text are the annotation (`Annotated[float, typer.Option(help=...)]`,
or `Annotated[float, "..."]` in a dataclass that knows no command line), its default is the field's. A field
whose type is a dataclass is a group of options. The command's signature, and with it `--help`, shell
completion and the options that a file may set, are made from the fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

Options = TypeVar("Options")


def takes(options: type[Options]) -> Callable[[Callable[[typer.Context, Options], int]], Callable[..., None]]:
    """Decorate a function of (context, options) that returns an exit code: make it a command for typer.

    Args:
        options: a dataclass. Fields whose type is `Annotated` are options of the command, and so are those of
            fields whose type is such a dataclass; the others keep their defaults.
    """

    def decorate(function: Callable[[typer.Context, Options], int]) -> Callable[..., None]:
        def command(context: typer.Context, **values: Any) -> None:
            if code := function(context, _made(options, values)):
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
    found: list[inspect.Parameter] = []
    for field in fields(options):
        hint = hints[field.name]
        if is_dataclass(hint):
            found.extend(parameters_of(hint))  # type: ignore[arg-type]  # a class, as a type hint is
        elif get_origin(hint) is Annotated:
            found.append(_parameter(field.name, _with_option(hint), field.default))
    return tuple(found)


def _with_option(hint: Any) -> Any:
    """An annotation whose text, of a dataclass that knows no command line, is the help of an option."""
    kind, *notes = get_args(hint)
    return Annotated[kind, typer.Option(help=notes[0])] if isinstance(notes[0], str) else hint


def _made(options: type[Any], values: Mapping[str, Any]) -> Any:
    """The options, and their groups, with values by the names of the fields."""
    hints = get_type_hints(options, include_extras=True)
    groups = {field.name: hints[field.name] for field in fields(options) if is_dataclass(hints[field.name])}
    own = {field.name: values[field.name] for field in fields(options) if field.name in values}
    return options(**own, **{name: _made(group, values) for name, group in groups.items()})


def _parameter(name: str, annotation: Any, default: Any = MISSING) -> inspect.Parameter:
    usual = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=usual, annotation=annotation)
