"""Functions of a user's by `module:function`: imported from the working folder, others refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.system.named_function import call_function, import_function, is_function

MODULE = """
text = "no function"

def double(size, *, factor=2):
    return size * factor

def failing():
    raise ValueError("first line\\nsecond line")

def exhausted():
    raise MemoryError
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"functions_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_names_of_functions_are_told_from_other_names() -> None:
    assert is_function("module:function")
    assert is_function("package.module:function")
    assert not any(map(is_function, ("standard", "module:", ":function", "")))


def test_calls_with_the_arguments_that_the_function_takes(module: str) -> None:
    function = import_function(f"{module}:double", "--option is x")
    assert call_function("m:double", function, "a number", size=4, other=1) == 8
    assert call_function("m:double", function, "a number", size=4, factor=5) == 20


@pytest.mark.parametrize(
    ("name", "seen", "instead"),
    [
        (
            "not_here:f",
            "not_here:f, whose module 'not_here' is not found from here",
            "folder that holds not_here",
        ),
        ("{}:gone", "has no attribute 'gone'", "correct it"),
        ("{}:text", "{}:text, a str", "name a function"),
        ("broken_too:f", "No module named 'no_such_package_at_all'", "correct it"),
    ],
)
def test_refuses_what_can_not_be_imported(
    module: str, tmp_path: Path, name: str, seen: str, instead: str
) -> None:
    (tmp_path / "broken_too.py").write_text("import no_such_package_at_all\n")
    with pytest.raises(InputError) as caught:
        import_function(name.format(module), "--option is x or module:function")
    assert seen.format(module) in caught.value.seen
    assert "function" in caught.value.expected
    assert instead in caught.value.instead
    assert caught.value.instead.endswith("; --option is x or module:function")


def test_an_error_of_the_function_is_named_on_one_line(module: str) -> None:
    function = import_function(f"{module}:failing", "")
    with pytest.raises(InputError) as caught:
        call_function("mine:failing", function, "an objective")
    assert caught.value.seen == "mine:failing raised ValueError (first line second line)"
    assert caught.value.expected == "a function that builds an objective"
    with pytest.raises(MemoryError):
        call_function("mine:exhausted", import_function(f"{module}:exhausted", ""), "an objective")
