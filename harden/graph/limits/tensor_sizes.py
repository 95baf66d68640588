"""Sizes of the tensors of a graph, computed from shapes before any is allocated."""

from __future__ import annotations

import math
import time
from typing import final

import torch

from harden.errors import InputError
from harden.graph.operation_graph import Operation
from harden.graph.reading.node_view import UnsupportedError
from harden.system.size_limits import GRAPH_BYTES, PROCESS_BYTES, READING_SECONDS, TENSOR_BYTES

_WIDTH = 4  # all that depends on the images is float32
_MODELS = 8
_Shapes = tuple[tuple[int, ...], ...]


@final
class ReadingLimits:
    """Limits of reading a graph: bytes of all its constants, and time.

    Args:
        weights: bytes of the file's own tensors.
    """

    def __init__(self, weights: int) -> None:
        self._most, self._taken = _MODELS * weights + PROCESS_BYTES.value, 0
        self._seconds, self._began = READING_SECONDS.value, time.monotonic()

    def take(self, size: int) -> None:
        """Count the bytes of constants that are kept.

        Raises:
            InputError: there are more than there is room for.
        """
        self._taken += size
        if self._taken > self._most:
            raise InputError(
                f"a graph whose constants take more than {self._most:,} bytes",
                f"at most {_MODELS} times the weights and {PROCESS_BYTES.value:,} more",
                f"set {PROCESS_BYTES.variable} to a larger number if you trust the file",
            )

    def check_time(self) -> None:
        """Check the time limit.

        Raises:
            InputError: time is up.
        """
        if time.monotonic() - self._began > self._seconds:
            READING_SECONDS.check("a graph that takes to be read a time", self._seconds + 1)


@final
class ShapeInference:
    """The shapes that operations make: each is tried without numbers, and once for equal ones."""

    def __init__(self) -> None:
        self._known: dict[tuple[Operation, _Shapes], tuple[int, ...]] = {}
        self._total = 0

    def __call__(self, operation: Operation, inputs: _Shapes) -> tuple[int, ...]:
        """The shape that an operation makes of others.

        Raises:
            UnsupportedError: it does not take them.
        """
        key = (operation, inputs)
        try:
            known = self._known.get(key)
        except TypeError:  # an operation that holds tensors
            return _made(operation, inputs)
        if known is None:
            known = self._known[key] = _made(operation, inputs)
        return known

    def count(self, what: str, shape: tuple[int, ...], images: int) -> None:
        """Add up what an image takes in all values together.

        Args:
            what: is made.
            shape: for so many images.
            images: in the batch.

        Raises:
            InputError: a tensor has more than `TENSOR_BYTES`, or all together more than `GRAPH_BYTES`.
        """
        size = _WIDTH * math.prod(shape) // max(images, 1)
        TENSOR_BYTES.check(f"{what} for one image", size)
        self._total += size
        GRAPH_BYTES.check("a graph whose tensors for one image come to a size", self._total)


def _made(operation: Operation, inputs: _Shapes) -> tuple[int, ...]:
    meta = [torch.empty(shape, device="meta") for shape in inputs]
    try:
        return tuple(operation(*meta).shape)
    except (ArithmeticError, RuntimeError, ValueError, IndexError, TypeError) as error:
        raise UnsupportedError(f"shapes {list(inputs)}: {error}"[:160]) from error
