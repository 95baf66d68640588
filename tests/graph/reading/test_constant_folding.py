"""Nodes of known inputs are computed once: sizes for each batch, refusals, and the images' own nodes left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from harden.graph.reading.constant_folding import fold_constants
from harden.graph.reading.known_values import ComputedValue, KnownValue, Value
from harden.graph.reading.node_view import UnsupportedError

IMAGES = ComputedValue(tuple((batch, 4, 6) for batch in (2, 3, 5)))


def known(array: Any, roundings: int = 0) -> KnownValue:
    return KnownValue((np.array(array),) * 3, roundings)


def folded(kind: str, *values: Value | None, outputs: int = 1, **attributes: Any) -> list[KnownValue] | None:
    names = [f"i{at}" if value is not None else "" for at, value in enumerate(values)]
    node = helper.make_node(kind, names, [f"o{at}" for at in range(outputs)], **attributes)
    return fold_constants(node, values, 18, 3)


def test_what_depends_on_the_images_is_left() -> None:
    assert folded("Add", IMAGES, known(1.0)) is None
    assert folded("Relu", IMAGES) is None


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "expected"),
    [
        ("Add", ([1, 2], [3, 4]), {}, [[4, 6]]),
        ("Split", ([1, 2, 3], [1, 2]), {"axis": 0}, [[1], [2, 3]]),
        ("Constant", (), {"value_ints": [3, 4]}, [[3, 4]]),
        ("Constant", (), {"value_float": 0.5}, [0.5]),
        ("Range", (0, 6, 2), {}, [[0, 2, 4]]),
    ],
)
def test_known_values_are_computed(
    kind: str, inputs: tuple[Any, ...], attributes: dict[str, Any], expected: list[Any]
) -> None:
    found = folded(kind, *map(known, inputs), outputs=len(expected), **attributes)
    assert found is not None
    for value, each in zip(found, expected, strict=True):
        assert value.constant
        assert np.array_equal(value.arrays[0], each)


def test_a_shape_is_known_for_each_batch_though_the_images_are_not() -> None:
    (sizes,) = folded("Shape", IMAGES) or [known(0)]
    assert [each.tolist() for each in sizes.arrays] == [[2, 4, 6], [3, 4, 6], [5, 4, 6]]
    (part,) = folded("Shape", IMAGES, start=1) or [known(0)]
    assert part.constant
    assert part.arrays[0].tolist() == [4, 6]
    (count,) = folded("Size", IMAGES) or [known(0)]
    assert [int(each) for each in count.arrays] == [48, 72, 120]
    (twice,) = folded("Mul", sizes, known([1, 2, 1])) or [known(0)]
    assert twice.arrays[2].tolist() == [5, 8, 6]


def test_roundings_are_counted_onwards() -> None:
    (once,) = folded("Mul", known([0.1]), known([0.3])) or [known(0)]
    (twice,) = folded("Mul", once, known([0.3])) or [known(0)]
    (moved,) = folded("Transpose", known([[0.1]], 1)) or [known(0)]
    assert (once.roundings, twice.roundings > once.roundings, moved.roundings) == (1, True, 1)


@pytest.mark.parametrize(
    ("kind", "values", "attributes", "said"),
    [
        ("RandomNormal", (), {"shape": [2]}, "random numbers"),
        ("RandomUniformLike", (IMAGES,), {}, "random numbers"),
        ("Dropout", (IMAGES, known(0.5), known(True)), {}, "training_mode=1"),
        ("Add", (known([1, 2]), known([1, 2, 3])), {}, r"constants \("),
        ("Constant", (), {"value_string": "text"}, "a constant of value_string"),
        ("If", (known(True),), {"then_branch": helper.make_graph([], "g", [], [])}, "control flow"),
        ("DequantizeLinear", (known(np.int8(1)), known(np.float16(1))), {}, "not of float32"),
    ],
)
def test_what_is_not_computed(
    kind: str, values: tuple[Value, ...], attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UnsupportedError, match=said):
        folded(kind, *values, **attributes)
