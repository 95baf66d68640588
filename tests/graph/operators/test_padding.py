"""Padding by a constant, by reflection and by repetition, and tiling: against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.indexing import Gather
from harden.graph.operators.padding import ROWS, Pad
from harden.graph.operators.reshaping import Reshape
from tests.graph.cases import check_case, named, same
from tests.graph.graphs import normal, one


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


def test_a_constant_around_and_places_cut_off() -> None:
    x = normal(2, 3, 4)
    found = Pad((0, 1, -1, 0, 0, 2), 7.0)(torch.from_numpy(x)).numpy()
    expected = np.pad(x[:, :, 1:], ((0, 0), (1, 0), (0, 2)), constant_values=7.0)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_what_surrounds_an_image_is_numpy_s(mode: str) -> None:
    pads = np.array([0, 0, 2, 1, 0, 1, 0, 3])
    graph = read(one("Pad", ("n", 2, 4, 5), pads, mode=mode, opset=19))
    assert all(isinstance(node.operation, Gather) for node in graph.nodes)
    x = normal(3, 2, 4, 5)
    around = ((0, 0), (0, 1), (2, 0), (1, 3))
    expected = np.pad(x, around, mode=mode)  # type: ignore[call-overload]  # one of its modes
    assert np.array_equal(graph.run(torch.from_numpy(x)).numpy(), expected)
    assert mixing(graph) == ()


def test_tiles_are_numpy_s() -> None:
    file, x = one("Tile", ("n", 2, 3), np.array([1, 2, 3])), normal(2, 2, 3)
    assert np.array_equal(read(file).run(torch.from_numpy(x)).numpy(), np.tile(x, (1, 2, 3)))
    same(file, 2, 3)
    alone = read(one("Tile", ("n", 2, 3), np.array([1, 1, 1])))
    assert [type(node.operation) for node in alone.nodes] == [Reshape]


def test_pads_around_the_batch_mix_images() -> None:
    assert mixing(read(one("Pad", ("n", 4), np.array([1, 0, -1, 0])))) != ()
    assert mixing(read(one("Pad", ("n", 4), np.array([0, 1, 0, -1])))) == ()


@pytest.mark.parametrize(
    ("pads", "mode", "said"),
    [
        ([0, 0, 4, 0, 0, 0], "reflect", "mode=reflect by 4 of 4"),
        ([0, 0, 0, 0, 0, 5], "wrap", "mode=wrap by 5 of 4"),
        ([0, 0, -1, 0, 0, 0], "edge", "mode=edge with pads"),
        ([0, 0, 1, 0, 0, 0], "mirror", "mode=mirror with pads"),
        ([1, 0, 0, 0, 0, 0], "edge", "a batch of another size"),
    ],
)
def test_more_than_there_is_to_repeat(pads: list[int], mode: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(one("Pad", ("n", 2, 4), np.array(pads), mode=mode, opset=19))
