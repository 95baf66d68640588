"""A node of the file with its attributes and inputs, the argument of converters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from harden.graph.operation_graph import Operation
from harden.graph.reading.known_values import Array, ComputedValue, KnownValue, Size, Value, by_batch


class UnsupportedError(Exception):
    """A node that can't be read, and why: collected, so that one error names all."""


Reading = tuple[Operation | Sequence[Operation], tuple[int, ...]]
"""An operation, or several one on another, and which of the node's inputs the first takes, by position."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class NodeView:
    """A node's attributes and the values of its inputs.

    Args:
        kind: the ONNX operator.
        attributes: by name, as Python values; strings are bytes.
        values: of its inputs, None where one is left out.
        opset: of ONNX's own operators.
        batches: the batch sizes that the graph is read for.
        outputs: of each output whether the logits need it.
    """

    kind: str
    attributes: Mapping[str, Any]
    values: Sequence[Value | None]
    opset: int
    batches: Sequence[int]
    outputs: Sequence[bool]

    def has(self, at: int) -> bool:
        """True if an input is there."""
        return at < len(self.values) and self.values[at] is not None

    @property
    def present(self) -> tuple[int, ...]:
        """Positions of the inputs that are there."""
        return tuple(at for at in range(len(self.values)) if self.has(at))

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number, as the runtime holds it: in float32."""
        return float(np.float32(self.attributes.get(name, default)))

    def flag(self, name: str, default: int = 0) -> bool:
        """An attribute that is 0 or 1."""
        return bool(self.attributes.get(name, default))

    def word(self, name: str, default: str) -> str:
        """An attribute that is a word."""
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else str(found)

    def numbers(self, name: str, default: Sequence[int]) -> Size:
        """An attribute that is a list of integers."""
        return tuple(int(number) for number in self.attributes.get(name, default))

    def only(self, name: str, allowed: Any) -> None:
        """Refuse an attribute that is set to anything but what is supported.

        Raises:
            UnsupportedError: it is.
        """
        found = self.attributes.get(name, allowed)
        found = found.decode() if isinstance(found, bytes) else found
        if found != allowed:
            raise UnsupportedError(f"{name}={found}")

    @property
    def shape(self) -> Size:
        """Of the first input, for the first batch size."""
        return shapes(self.values[0])[0]

    @property
    def rank(self) -> int:
        """Dimensions of the first input."""
        return len(self.shape)

    def axis(self, name: str, default: int) -> int:
        """An attribute that is a dimension of the first input, counted from the front."""
        found = int(self.attributes.get(name, default))
        return found + self.rank if found < 0 else found

    def constant(self, at: int) -> Array:
        """An input that has to be the same numbers for every image and batch size.

        Raises:
            UnsupportedError: it is not.
        """
        value = self.values[at]
        if not isinstance(value, KnownValue) or not value.constant:
            raise UnsupportedError(f"input {at} that is not constant")
        return value.arrays[0]

    def scalar(self, at: int) -> float:
        """A constant of one element."""
        found = self.constant(at)
        if found.size != 1:
            raise UnsupportedError(f"input {at} of {found.size} numbers instead of one")
        return float(found.reshape(()))

    def integers(self, at: int) -> Size:
        """A constant list of integers."""
        return tuple(int(number) for number in np.atleast_1d(self.constant(at)))

    def sizes(self, at: int) -> Size:
        """A shape, -1 where the batch decides.

        Raises:
            UnsupportedError: it depends on the images, or in another way on the batch.
        """
        value = self.values[at]
        if not isinstance(value, KnownValue):
            raise UnsupportedError("a shape that depends on the images")
        lists = [np.atleast_1d(array).tolist() for array in value.arrays]
        try:
            columns = list(zip(*lists, strict=True))
            found = tuple(by_batch(each, self.batches, first=not at) for at, each in enumerate(columns))
        except ValueError as error:
            raise UnsupportedError(str(error)) from error
        for each, size in zip(columns, found, strict=True):
            if size < 0 and each != tuple(self.batches):
                raise UnsupportedError(f"sizes {list(each)} for batches of {list(self.batches)}")
        return found

    def axes(self, at: int) -> Size | None:
        """Dimensions of the first input, from an attribute or an input, from the front; None if not given."""
        if self.has(at):
            found = self.integers(at)
        elif "axes" in self.attributes:
            found = self.numbers("axes", ())
        else:
            return None
        return tuple(axis + self.rank if axis < 0 else axis for axis in found)


def shapes(value: Value | None) -> tuple[Size, ...]:
    """Of a value, for each batch size."""
    if isinstance(value, KnownValue):
        return tuple(array.shape for array in value.arrays)
    return value.shapes if isinstance(value, ComputedValue) else ()


Converter = Callable[[NodeView], list[Reading]]
"""One reading for each output of the node."""
