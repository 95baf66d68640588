"""Weights in onnxruntime's blocked layout, and back."""

from __future__ import annotations

import numpy as np
import pytest

from harden.graph.executed.nchwc_layout import BLOCKS, StoredWeights, blocked
from tests.graph.graphs import normal


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("inputs_too", [False, True])
@pytest.mark.parametrize("shape", [(16, 16, 3, 3), (10, 3, 5, 5), (20, 24, 1, 1), (1, 1, 1, 1)])
def test_a_blocked_weight_is_found_by_its_bytes(
    block: int, inputs_too: bool, shape: tuple[int, int, int, int]
) -> None:
    weight, known = normal(*shape), StoredWeights()
    known.learn(weight)
    known.learn(normal(*shape, seed=1))
    found = known.find(blocked(weight, block, inputs_too))
    assert found is not None
    assert np.array_equal(found, weight)


def test_each_element_goes_where_its_block_is() -> None:
    """(O / c, I / c, h, w, c of I, c of O), by its definition."""
    weight, c = normal(16, 24, 2, 3), 8
    flat = blocked(weight, c, inputs_too=True).reshape(2, 3, 2, 3, c, c)
    alone = blocked(weight, c, inputs_too=False).reshape(2, 24, 2, 3, c)
    for o, i, y, x in [(0, 0, 0, 0), (9, 17, 1, 2), (15, 23, 0, 1), (7, 8, 1, 0)]:
        assert flat[o // c, i // c, y, x, i % c, o % c] == weight[o, i, y, x]
        assert alone[o // c, i, y, x, o % c] == weight[o, i, y, x]


def test_a_changed_bit_is_not_found() -> None:
    weight, known = normal(16, 16, 3, 3), StoredWeights()
    known.learn(weight)
    stored = blocked(weight, 16, inputs_too=True)
    stored.flat[77] = np.nextafter(stored.flat[77], np.float32(9))
    assert known.find(stored) is None


def test_two_weights_of_one_blocked_form_are_not_told_apart() -> None:
    """The order of 8 in one is the order of 16 in the other."""
    one = normal(16, 1, 1, 2)
    stored = blocked(one, 8, inputs_too=False)
    other = next(
        each
        for each in (stored.reshape(1, 1, 1, 2, 16).transpose(0, 4, 1, 2, 3).reshape(16, 1, 1, 2),)
        if np.array_equal(blocked(each, 16, inputs_too=False), stored)
    )
    assert not np.array_equal(one, other)
    known = StoredWeights()
    known.learn(one)
    assert known.find(stored) is not None
    known.learn(other)
    known.learn(one)
    assert known.find(stored) is None


def test_constants_that_are_no_weights_are_passed_over() -> None:
    known = StoredWeights()
    known.learn(np.zeros((3, 4), dtype=np.float32))
    known.learn(np.zeros((3, 4, 1, 1), dtype=np.int64))
    assert not known.by_digest
