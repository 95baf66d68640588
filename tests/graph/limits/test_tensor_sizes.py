"""What a graph would take is told from its shapes, and refused before any of it is made."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from harden.errors import InputError
from harden.graph import read
from harden.graph.limits.tensor_sizes import ReadingLimits, ShapeInference
from harden.graph.operators.rectifiers import Relu
from harden.system.size_limits import GRAPH_BYTES, PROCESS_BYTES, READING_SECONDS, TENSOR_BYTES
from tests.certificate.untrusted.test_trial_load import LARGE, classifier, node, with_constants


@pytest.mark.parametrize("kind", LARGE)
def test_a_graph_that_makes_much_is_refused_before_it_does(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    empty = torch.empty

    def watched(*size: object, **how: object) -> torch.Tensor:
        found = empty(*size, **how)  # type: ignore[call-overload]
        made.append(0 if found.is_meta else found.numel())
        return found  # type: ignore[no-any-return]

    monkeypatch.setattr(torch, "empty", watched)
    with pytest.raises(
        InputError, match=r"of [14],\d\d\d,\d\d\d,\d\d\d bytes; expected at most 1,073,741,824"
    ) as caught:
        read(LARGE[kind])
    assert TENSOR_BYTES.variable in str(caught.value)
    assert max(made, default=0) < 1000


def test_constants_that_are_small_each_and_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concat of a constant with itself, 20 times over: 4 MB at the end, 8 MB in all."""
    names = ["one", *(f"c{at}" for at in range(20))]
    nodes = [node("Concat", [name, name], [after], axis=0) for name, after in pairwise(names)]
    file = with_constants(
        [*nodes, node("Identity", [names[-1]], ["large"])], {"one": np.zeros(1, np.float32)}
    )
    read(file)
    monkeypatch.setenv(PROCESS_BYTES.variable, "8000000")
    with pytest.raises(InputError, match="a graph whose constants take more than"):
        read(file)


def test_tensors_that_are_small_each_and_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["image", *(f"v{at}" for at in range(50)), "seen"]
    nodes = [node("Relu", [name], [after]) for name, after in pairwise(names)]
    file = classifier(nodes, {})
    whole = 4 * (16 * 51 + 16 + 3)  # 51 images, one flat, three logits
    monkeypatch.setenv(GRAPH_BYTES.variable, str(whole))
    read(file)
    monkeypatch.setenv(GRAPH_BYTES.variable, str(whole - 1))
    with pytest.raises(InputError, match=f"come to a size of {whole:,} bytes"):
        read(file)


def test_reading_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    room = ReadingLimits(0)
    room.check_time()
    now = iter([0.0, READING_SECONDS.usual - 1.0, READING_SECONDS.usual + 1.0])
    monkeypatch.setattr("harden.graph.limits.tensor_sizes.time.monotonic", lambda: next(now))
    room = ReadingLimits(0)
    room.check_time()
    with pytest.raises(InputError, match=r"a time of 301 seconds"):
        room.check_time()


def test_equal_operations_on_equal_shapes_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def same(self: Relu, x: torch.Tensor) -> torch.Tensor:
        calls.append(self)
        return x

    monkeypatch.setattr(Relu, "__call__", same)
    sizes = ShapeInference()
    assert [sizes(Relu(), ((2, 3),)) for _ in range(3)] == [(2, 3)] * 3
    assert sizes(Relu(), ((3, 3),)) == (3, 3)
    assert len(calls) == 2
