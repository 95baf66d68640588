"""Reshaping and transposition: shapes that follow the batch, blocks of pixels, expansion both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.reshaping import ROWS, Expand, Reshape, Transpose
from tests.graph.cases import check_case, named, same
from tests.graph.graphs import normal, one, run


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize(
    ("kind", "inputs", "shape"),
    [
        ("Flatten", (), (-1, 24)),
        ("Identity", (), (-1, 2, 3, 4)),
        ("Reshape", (np.array([0, -1, 3]),), (-1, 8, 3)),
        ("Reshape", (np.array([-1, 4, 6]),), (-1, 4, 6)),
        ("Unsqueeze", (np.array([2]),), (-1, 2, 1, 3, 4)),
    ],
)
def test_one_size_is_left_to_the_batch(
    kind: str, inputs: tuple[np.ndarray, ...], shape: tuple[int, ...]
) -> None:
    graph = read(one(kind, ("n", 2, 3, 4), *inputs))
    assert graph.nodes[0].operation == Reshape(shape)
    assert graph.output.shape == shape


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    """CRD is torch's pixel shuffle; DCR has the blocks before the channels."""
    file, x = one("DepthToSpace", ("n", 12, 2, 3), blocksize=2, mode=mode), normal(2, 12, 2, 3)
    found = read(file).run(torch.from_numpy(x))
    given = torch.from_numpy(x)
    if mode == "DCR":
        given = given.reshape(2, 4, 3, 2, 3).transpose(1, 2).reshape(2, 12, 2, 3)
    assert torch.equal(found, functional.pixel_shuffle(given, 2))
    assert np.array_equal(found.numpy(), run(file, x))


def test_space_to_depth_is_the_inverse() -> None:
    there = read(one("SpaceToDepth", ("n", 3, 4, 6), blocksize=2))
    back = read(one("DepthToSpace", ("n", 12, 2, 3), blocksize=2))
    x = torch.from_numpy(normal(2, 3, 4, 6))
    assert there.output.shape == (-1, 12, 2, 3)
    assert torch.equal(back.run(there.run(x)), x)
    same(one("SpaceToDepth", ("n", 3, 4, 6), blocksize=2), 3, 4, 6)


def test_an_expansion_goes_both_ways() -> None:
    """A size of 1 in the shape leaves that of the value; -1 is the batch's."""
    x = torch.from_numpy(normal(2, 3, 1))
    assert torch.equal(Expand((1, 1, 4))(x, x), x.expand(2, 3, 4))
    assert Expand((-1, 3, 4))(x[:1], x).shape == (2, 3, 4)
    assert Expand((5, 1, 3, 1))(x, x).shape == (5, 2, 3, 1)


def test_a_transposition_that_moves_the_batch_mixes_images() -> None:
    x = torch.from_numpy(normal(2, 3, 4))
    assert torch.equal(Transpose((0, 2, 1))(x), x.mT)
    assert mixing(read(one("Transpose", ("n", 3, 4), perm=[0, 2, 1]))) == ()
    assert mixing(read(one("Transpose", (3, 3), perm=[1, 0]))) != ()


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "said"),
    [
        ("Squeeze", (np.array([1]),), {}, r"axes \[1\] of a shape"),
        ("DepthToSpace", (), {"blocksize": 2, "mode": "CDR"}, "mode=CDR"),
        ("Dropout", (np.float32(0.5), np.array(True)), {}, "training_mode=1"),
        ("Expand", (np.array([-1, 4, 2, 2]),), {}, r"sizes \[-1, 4, 2, 2\]"),
    ],
)
def test_what_has_no_such_shape(
    kind: str, inputs: tuple[np.ndarray, ...], attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read(one(kind, ("n", 4, 2, 2), *inputs, **attributes))


def test_a_squeeze_of_all_leaves_a_batch_that_is_free() -> None:
    file = one("Squeeze", ("n", 2, 1, 5))
    x = normal(3, 2, 1, 5)
    assert np.array_equal(read(file).run(torch.from_numpy(x)).numpy(), run(file, x))
