"""Mutations of JSON and TOML: of the text and of its values."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from benchmarks.fuzzing.mutations import INTEGERS, Mutated, UntoldError

FOREIGN = (
    "x\nverified: y",
    "\r\x1b[2K\x1b[1A\x9b31m",
    "::error title=x::y",
    "\n::stop-commands::x",
    "##[error]x",
    "[/b]",
    "<img src=x>",
    "](x) | `y`",
    "\u202e\u2066\u200b",
)
"""What a terminal, a CI system, Markdown or HTML acts on, where a name is shown as it is."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of the values inside a JSON value, itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if len(path) > 20:
        return []
    return [p for key, part in inner for p in ((*path, key), *places(part, (*path, key)))]


def another_value(draw: random.Random, old: Any) -> Any:
    """A value in the place of `old`: of another type, of another size, or hostile."""
    near: list[Any] = [old]
    if type(old) is int:
        near = [old + 1, old - 1, -old, old * 2, float(old)]
    elif isinstance(old, float):
        near = [old * (1 + 2.0**-50), old / 2, -old, 1 - old, int(old)]
    elif isinstance(old, str) and old:
        near = [old + "0", old[:-1], old.upper(), old[::-1], old.replace("1", "2")]
    elif isinstance(old, list) and old:
        near = [old[:-1], old + old[-1:], old[::-1], []]
    far: tuple[Any, ...] = (
        None,
        True,
        False,
        "",
        [],
        {},
        0.5,
        -0.0,
        1e300,
        5e-324,
        [[]],
        {"a": 1},
        "\ud800",
        "x\x00\n",
        "\u0661",
    )
    return draw.choice((draw.choice(near), draw.choice(far), draw.choice(INTEGERS), _odd(draw)))


def _odd(draw: random.Random) -> Any:
    """Deep nesting, long text, a list of many, another kind of harden's."""
    kind = draw.randrange(8)
    if kind == 0:
        value: Any = 0
        for _ in range(draw.choice((30, 150, 900, 990))):
            value = [value] if draw.random() < 0.5 else {"a": value}
        return value
    if kind == 1:
        return "9" * draw.choice((100, 5000, 50_000))
    if kind == 2:
        return [draw.choice((0, "a", [], {}))] * draw.choice((100, 3000))
    if kind == 3:
        return {f"k{i}": i for i in range(2000)}
    if kind in (4, 5):
        return draw.choice((*FOREIGN, " ".join(FOREIGN)))
    modules = ("harden.threats:Linf", "harden.verifier.__main__:x", "harden.:x", "os:system", "harden..a:b")
    return draw.choice((*modules, "harden.threats:__name__", "harden.data:Splits", "1/0", "nan", "../../x"))


def json_edit(value: Any, draw: random.Random) -> tuple[str, Any]:
    """Change one or two places of a parsed JSON value, in place where it can be; gives name and value."""
    names = []
    for _ in range(draw.choice((1, 1, 1, 2))):
        found = places(value)
        if not found:
            return "whole", another_value(draw, value)
        *above, key = draw.choice(found)
        inner = value
        for step in above:
            inner = inner[step]
        name = draw.choice(("replace", "replace", "replace", "remove", "add", "swap"))
        if name == "replace":
            inner[key] = another_value(draw, inner[key])
        elif name == "remove":
            del inner[key]
        elif name == "add" and isinstance(inner, dict):
            inner[draw.choice(("extra", "__class__", "", "kind", *FOREIGN))] = another_value(draw, inner[key])
        elif name == "add":
            inner.insert(key, another_value(draw, inner[key]))
        else:
            *others, last = draw.choice(found)
            holder = value
            try:
                for step in others:
                    holder = holder[step]
                inner[key], holder[last] = holder[last], inner[key]
            except (KeyError, IndexError, TypeError):
                continue
            if not _is_tree(value):
                raise UntoldError("a value inside itself")
        names.append(name)
    return "json " + "+".join(names), value


def _is_tree(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        return False
    return True


def json_text(data: bytes, draw: random.Random) -> Mutated:
    """A mutation of JSON's text: what no value can hold."""
    text = data.decode()
    number = draw.choice(
        ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "0x10", "01", "1e-999")
    )
    keys = list(re.finditer(r'"(\w+)":', text))
    numbers = list(re.finditer(r"(?<=[ \[:])-?\d[\d.e+-]*", text))
    name = draw.choice(("number", "twice", "deep", "bom", "comment", "utf16", "surrogate"))
    if name == "number" and numbers:
        found = draw.choice(numbers)
        text = text[: found.start()] + number + text[found.end() :]
    elif name == "twice" and keys:
        found = draw.choice(keys)
        text = text[: found.start()] + found.group() + " 0, " + text[found.start() :]
    elif name == "deep":
        depth = draw.choice((100, 980, 5000, 100_000))
        at = draw.choice(keys).end() if keys else 0
        text = text[:at] + draw.choice(("[" * depth, "[" * depth + "]" * depth, '{"a":' * depth)) + text[at:]
    elif name == "bom":
        text = "\ufeff" + text
    elif name == "comment":
        text = text.replace("\n", " // x\n", 1)
    elif name == "utf16":
        return name, text.encode("utf-16")
    else:
        name, text = "surrogate", re.sub(r'"[^"]*"', r'"\\ud800"', text, count=1)
    return f"text {name}", text.encode()


def toml_text(data: bytes, draw: random.Random) -> Mutated:
    """A mutation of one line of TOML."""
    lines = data.decode().splitlines()
    at = draw.randrange(len(lines))
    key, _, value = lines[at].partition(" = ")
    values = (
        "nan",
        "inf",
        "-1",
        "0",
        str(draw.choice(INTEGERS)),
        "9" * 4000,
        "1e400",
        "true",
        '""',
        "[]",
        "{}",
    )
    hostile = tuple(json.dumps(text) for text in FOREIGN)
    odd = (
        *hostile,
        "1979-05-27",
        "[" * 3000,
        '"' + "x" * 100_000 + '"',
        '"\\u0000"',
        "'\ud800'",
        '["a", 1]',
        "0x1F",
    )
    name = draw.choice(("value", "value", "value", "key", "twice", "table", "remove"))
    if name == "value":
        lines[at] = f"{key} = {draw.choice((*values, *odd))}"
    elif name == "key":
        lines[at] = f"{draw.choice(('', 'nothing', key.upper(), key + '.a', '__class__'))} = {value}"
    elif name == "twice":
        lines.append(lines[at])
    elif name == "table":
        lines.insert(at, draw.choice(("[run]", "[[run]]", "[a.b.c]", "[" * 100)))
    else:
        del lines[at]
    return f"toml {name}", ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
