from __future__ import annotations

import threading

import pytest

from harden.system.scoped_values import ContextStack


def test_values_are_active_inside_their_context_alone() -> None:
    stack = ContextStack[str]("values")
    with stack.pushed("outer") as outer:
        assert outer == "outer"
        with stack.pushed("inner"):
            assert [*stack] == ["outer", "inner"]
        assert [*stack] == ["outer"]
    assert [*stack] == []


def test_emptied_hides_values_and_restores_them() -> None:
    stack = ContextStack[int]("values")
    with stack.pushed(1):
        with stack.emptied():
            assert [*stack] == []
            with stack.pushed(2):
                assert [*stack] == [2]
        assert [*stack] == [1]


def test_an_exception_restores_the_values() -> None:
    stack = ContextStack[int]("values")
    with pytest.raises(KeyError), stack.pushed(1):
        raise KeyError
    with pytest.raises(KeyError), stack.emptied():
        raise KeyError
    assert [*stack] == []


def test_another_thread_has_its_own_values() -> None:
    stack, seen = ContextStack[int]("values"), list[list[int]]()
    with stack.pushed(1):
        thread = threading.Thread(target=lambda: seen.append([*stack]))
        thread.start()
        thread.join()
    assert seen == [[]]


def test_two_stacks_are_independent() -> None:
    one, other = ContextStack[int]("same"), ContextStack[int]("same")
    with one.pushed(1):
        assert [*other] == []
