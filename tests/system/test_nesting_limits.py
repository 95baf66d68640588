"""Counts of levels and values in JSON and TOML, compared with parsers on all that they can read."""

from __future__ import annotations

import json
import tomllib
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harden.system.nesting_limits import check_json, check_toml, json_value
from harden.system.size_limits import CONFIG_DEPTH, JSON_DEPTH, JSON_VALUES

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSONS: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(JSONS, st.sampled_from([None, 2]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_json_of_few_values_passes_whatever_its_texts_hold(value: Any, indent: Any, escaped: bool) -> None:
    content = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
    assert json_value(content) == json.loads(content)


@given(JSONS)
@settings(max_examples=100, deadline=None)
def test_the_depth_that_passes_is_the_value_s(value: Any) -> None:
    levels = depth(value)
    content = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(JSON_DEPTH.variable, str(max(levels, 1)))
        check_json(content)
        if levels > 1:
            patch.setenv(JSON_DEPTH.variable, str(levels - 1))
            with pytest.raises(ValueError, match="nested too deeply"):
                check_json(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 10**5, "nested too deeply"),
        (b'{"a":' * 10**5, "nested too deeply"),
        (b"[" + b"[]," * 10**5, "more than 10,000 values"),
        (b"[" + b"0," * 10**5, "more than 10,000 values"),
        (b'{"a":0,' * 30 + b'"a":{},' * 10**5, "more than 10,000 values"),
        (b"1" * 10**5, "a number of 100,000 digits"),
        (b"-0." + b"1" * 10**5, "digits"),
        (b"1e" + b"9" * 10**5, "digits"),
    ],
    ids=["lists", "objects", "empty lists", "numbers", "members", "digits", "decimals", "exponent"],
)
def test_json_beyond_a_limit_is_refused_without_memory(
    content: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JSON_VALUES.variable, "10000")
    refused(check_json, content, said)


@pytest.mark.parametrize(
    "content", [b'"' + b"\\n" * 10**6 + b'"', b'"' * 10**5, b'"' + b"\\" * 10**6, b"x" * 10**6]
)
def test_words_without_end_take_no_memory(content: bytes) -> None:
    tracemalloc.start()
    check_json(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_json_that_was_not_counted_is_not_parsed() -> None:
    """As UTF-16 a bracket is two bytes, and json.loads would guess it."""
    with pytest.raises(UnicodeDecodeError):
        json_value("[]".encode("utf-16"))


@pytest.mark.parametrize(
    "text",
    [
        'a.b.c = "a.a.a.a.a.a"\n' * 100,
        "x = [1.5, 2.5]\n# " + "." * 100,
        'x = """\n' + '."' * 100 + '\n"""',
        "x = '''" + "[" * 100 + "'''",
        'x = "\\"' + "[" * 100 + '"',
        "x = [" + "[1.0, 2.0], " * 100 + "]",
        "x = [\n" + "1.5\n,\n" * 100 + "]",
        "[a.b]\nc.d = {e.f = 1.5}\n" * 50,
    ],
)
def test_toml_that_is_flat_passes(text: str) -> None:
    check_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        "a." * 30_000 + "a = 1",
        "'a' . \"b\" ." * 30_000 + "a = 1",
        "[" + "a." * 30_000 + "a]",
        "x = " + "[" * 60_000,
        "x = " + "{a = " * 30_000,
        "x = {" + "a." * 30_000 + "a = 1}",
        "[[" + "a." * 30_000 + "a]]",
        "x = [" + "{a.b.c.d = " * 20 + "1",
    ],
)
def test_toml_that_is_deep_is_refused_without_memory(text: str) -> None:
    refused(check_toml, text, "nested too deeply")


def test_the_depth_of_toml_is_that_of_its_tables() -> None:
    text = ".".join("a" * CONFIG_DEPTH.value) + " = 1"
    check_toml(text)
    assert tomllib.loads(text)
    with pytest.raises(ValueError, match="33 levels"):
        check_toml("a." * 2 + text)


def refused(check: Callable[[Any], None], content: bytes | str, said: str) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match=said):
        check(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_as_many_values_as_the_limit_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JSON_VALUES.variable, "5")
    assert json_value(b"[1, 2, [3, 4]]") == [1, 2, [3, 4]]
    with pytest.raises(ValueError, match="more than 5 values"):
        check_json(b"[1, 2, [3, 4, 5]]")
