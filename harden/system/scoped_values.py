"""Stack of values in the current context, for meters and checks that hold inside a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar, final

T = TypeVar("T")


@final
class ContextStack(Generic[T]):
    """Values that are active in the current context, the outermost first.

    Args:
        name: of the context variable.
    """

    def __init__(self, name: str) -> None:
        self._values: ContextVar[tuple[T, ...]] = ContextVar(name, default=())

    def __iter__(self) -> Iterator[T]:
        return iter(self._values.get())

    @contextmanager
    def pushed(self, value: T) -> Iterator[T]:
        """Add a value for the duration of the context."""
        token = self._values.set((*self._values.get(), value))
        try:
            yield value
        finally:
            self._values.reset(token)

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Hide all values for the duration of the context."""
        token = self._values.set(())
        try:
            yield
        finally:
            self._values.reset(token)
