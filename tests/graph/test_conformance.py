"""Every operator and attribute that is read, generated and held against onnxruntime at each of its levels."""

from __future__ import annotations

import random

import pytest

from harden.errors import InputError
from harden.graph import read
from tests.graph.conformance import difference
from tests.graph.generated import FAMILIES
from tests.graph.graphs import normal

REFUSED = 0.5
"""The share of a family that may be refused: attributes are drawn beyond what is covered."""


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_read_is_what_the_runtime_computes_at_each_level(name: str) -> None:
    family, count = FAMILIES[name]
    draw, refused, wrong = random.Random(name), 0, []
    for _ in range(count):
        file, shape = family(draw)
        x = normal(2, *shape, seed=draw.randint(0, 99))
        try:
            graph = read(file)
        except InputError:
            refused += 1
            continue
        apart = difference(file, graph, x)
        if apart is not None:
            wrong.append((apart, file.graph.node[0], file.opset_import[0].version, shape))
    assert not wrong, wrong[0]
    assert refused <= REFUSED * count
