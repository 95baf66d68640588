"""The options of a command from a TOML file: checked whole before anything is loaded or written."""

from __future__ import annotations

import difflib
import inspect
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final, get_args, get_origin, get_type_hints

import typer

from harden.errors import InputError
from harden.system.atomic_files import read_bytes, refuse_pointer
from harden.system.nesting_limits import check_toml
from harden.system.size_limits import CONFIG_BYTES

_CONFIG = "config"  # what a command has that takes its options from a file
_BY_ITSELF = Path("harden.toml")  # read from the working folder where --config is not given
_NO_FILE = Path("none")
# A file does not name another one, a reason is one for a single step down, and consent one for a single time.
_BY_HAND = (_CONFIG, "accept_regression", "force")
_LISTS = ("mean", "std", "class_weights")  # numbers with commas; in TOML a list of numbers too
_POSITIONS = ("output",)  # a name, or a position
_TYPES: dict[object, tuple[str, str]] = {
    bool: ("true or false", "true"),
    int: ("a whole number", "1"),
    float: ("a number", "0.5"),
    str: ("a string", '"..."'),
    list: ("a list of strings", '["..."]'),
}
Commands = Mapping[str, Callable[..., Any]]


@final
@dataclass(frozen=True, slots=True)
class _Option:
    """An option as a file may set it: its function's parameter, and bool, int, float, str or list."""

    parameter: str
    kind: object


def fill_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Let a command take what its line does not say from a file: the callback of --config.

    Where --config is not given, a harden.toml in the working folder is the file, and a line says so;
    `--config none` leaves it out.

    Returns:
        The file, or None where no options come from one.

    Raises:
        InputError: the file can't be read, is no TOML, or has names or values that are no options.
    """
    implied = path is None and os.path.lexists(_BY_ITSELF)
    path = _BY_ITSELF if implied else path
    if path is None or path == _NO_FILE:
        return None
    words, commands = _whole(context)
    try:
        context.default_map = options_of(path, words, commands)
    except InputError as error:
        if not implied:
            raise
        instead = f"{error.instead}, or --config none to leave the file in this folder unread"
        raise InputError(error.seen, error.expected, instead) from None
    if implied:
        _say_found(sorted(context.default_map))
    return path


def settings_of(context: typer.Context, path: Path | None, command: str) -> dict[str, Any]:
    """The options that the file of one command sets for another one, by the parameters of its function."""
    return {} if path is None else options_of(path, command, _whole(context)[1])


def _whole(context: typer.Context) -> tuple[str, dict[str, Callable[..., Any]]]:
    """A command's words with dashes, and the functions of all commands."""
    words: list[str] = []
    above: Any = context
    while above.parent is not None:
        words.insert(0, str(above.info_name))
        above = above.parent
    return "-".join(words), _functions(above.command)


def _say_found(names: list[str]) -> None:
    from harden.cli.output.console import say

    said = (
        ", ".join(name.removesuffix("_file").replace("_", "-") for name in names) or "none for this command"
    )
    line = f"options from {_BY_ITSELF}: {said}; the command line goes before it, --config none leaves it out"
    say(line)


def _functions(group: Any, before: str = "") -> dict[str, Callable[..., Any]]:
    """The functions of the commands by their words: update of the group baseline is baseline-update."""
    found: dict[str, Callable[..., Any]] = {}
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            found |= _functions(each, f"{before}{name}-")
        else:
            found[before + name] = inspect.unwrap(each.callback)
    return found


def options_of(path: Path, command: str, commands: Commands) -> dict[str, Any]:
    """The options that a file sets for a command, by the parameters of its function.

    A name at the top holds for every command that has such an option. One in the table of a command holds
    for this command alone, and before the other; that of `harden baseline update` is [baseline-update].

    Raises:
        InputError: see `fill_defaults`; tables of other commands are checked as well.
    """
    known = {name: found for name, each in commands.items() if _CONFIG in (found := _options(each))}
    everything = _table(path)
    shared = {name: option for found in known.values() for name, option in found.items()}
    rest = {name: value for name, value in everything.items() if name not in known}
    top = _checked(str(path), rest, shared, (*known,), command)
    tables = {}
    for name in everything.keys() & known.keys():
        if not isinstance(everything[name], dict):
            seen = f"{path}: {name} = {_short(everything[name])}"
            expected = f"a table of the options of harden {_words(name)}"
            raise InputError(seen, expected, f"write [{name}] above them")
        tables[name] = _checked(f"{path} [{name}]", everything[name], known[name], (), name)
    said = {**top, **tables.get(command, {})}
    return {known[command][name].parameter: value for name, value in said.items() if name in known[command]}


def origins(context: typer.Context) -> dict[str, str]:
    """The origin of each option's value, by the function's parameter: flag, file or default."""
    words = {"COMMANDLINE": "flag", "DEFAULT_MAP": "file"}
    found = {}
    for each in context.command.params:
        source = context.get_parameter_source(str(each.name))
        found[str(each.name)] = words.get(source.name if source else "", "default")
    return found


def _table(path: Path) -> dict[str, Any]:
    """The file's options: all of it, or [tool.harden] of a pyproject.toml."""
    advice = "name a TOML file, as in --config harden.toml"
    try:
        if not path.is_file():
            seen = f"{path}, which is no file" if path.exists() else f"no {path}"
            raise InputError(seen, "a TOML file", advice)
        content = read_bytes(path, CONFIG_BYTES)
        refuse_pointer(content, path)
        text = content.decode()
        check_toml(text)
        everything = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "a file that can be read", advice) from None
    except UnicodeDecodeError as error:
        seen = f"{path} with a byte that is not UTF-8 at {error.start}"
        raise InputError(seen, "TOML, which is UTF-8", "save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        # Also a whole number with more digits than Python reads.
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: {reason}", "TOML", "write name = value, as in eps = '8/255'") from None
    if "tool" not in everything and path.name != "pyproject.toml":
        return everything
    tool = everything.get("tool")
    table = tool.get("harden") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise InputError(f"{path} without [tool.harden]", "a table of options", "write [tool.harden]")
    return table


def _checked(
    where: str, table: dict[str, Any], known: Mapping[str, _Option], tables: tuple[str, ...], command: str
) -> dict[str, Any]:
    """A table's values by their options' names, each of its option's type."""
    found: dict[str, Any] = {}
    for written, value in table.items():
        name = written.replace("-", "_")
        is_table = bool(tables) and isinstance(value, dict)
        if is_table or name in _BY_HAND or name not in known:
            # Sorted, or of two that are equally close now one is named and now the other.
            names = sorted({*tables} if is_table else {*known, *tables} - {*_BY_HAND})
            close = difflib.get_close_matches(name, names, n=1)
            instead = f"did you mean {close[0]}?" if close else f"see harden {_words(command)} --help"
            if name in _BY_HAND:
                instead = "give it on the command line"
            kind = "the name of an option, such as eps" + (", or of a command's table" if is_table else "")
            raise InputError(f"{where}: {_short(written)}", kind, instead)
        if name in found:
            raise InputError(f"{where}: {name} twice, with - and with _", "one of them", "leave one out")
        found[name] = _value(where, name, value, known[name].kind)
    return found


def _value(where: str, name: str, value: object, kind: object) -> object:
    """A value as the command line would have it."""
    number = _is_number(value)
    if name in _LISTS and isinstance(value, list) and value and all(_is_number(each) for each in value):
        return ",".join(str(each) for each in value)
    if name in _POSITIONS and type(value) is int:
        return str(value)
    if kind is float and number:
        return value
    if kind is list and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    # type, not isinstance: True is an int in Python and none in TOML.
    if kind is not list and type(value) is kind:
        return value
    expected, example = _TYPES[kind]
    text = f'"{value}"' if kind is str and number else example
    raise InputError(f"{where}: {name} = {_short(value)}", expected, f"write {name} = {text}")


def _words(command: str) -> str:
    return command.replace("-", " ")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _options(command: Callable[..., Any]) -> dict[str, _Option]:
    """The options of a command's function, by the names that they have in a file."""
    found = {}
    for parameter, hint in get_type_hints(command, include_extras=True).items():
        described = next((part for part in get_args(hint)[1:] if hasattr(part, "param_decls")), None)
        # By name: typer.Option is the function that makes one.
        if type(described).__name__ != "OptionInfo":
            continue
        # In Annotated the first flag is in the place of the default.
        said = (getattr(described, "default", None), *(getattr(described, "param_decls", None) or ()))
        flags = [flag[2:] for flag in said if isinstance(flag, str) and flag.startswith("--")]
        name = flags[0] if flags else parameter
        found[name.replace("-", "_")] = _Option(parameter, _kind(get_args(hint)[0]))
    return found


def _kind(hint: Any) -> object:
    """The type of a value in a file: `Path | None` is a string there, `list[str] | None` a list."""
    plain = next((part for part in get_args(hint) if part is not type(None)), hint)
    if list in (get_origin(hint), get_origin(plain)):
        return list
    return plain if plain in (bool, int, float) else str
