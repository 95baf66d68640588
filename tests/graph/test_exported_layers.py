"""Every layer of torch.nn that classifiers use, through harden's exporter, the reader and bounds.

Many layers share one network, each on the same maps, so that one export serves them all; the file is then cut
behind each layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from harden.artefact.classifier_to_onnx import trace
from harden.bounds import Program, Region
from harden.bounds.crown.intermediate_bounds import relax
from harden.errors import ExportError, InputError
from harden.graph import read
from harden.models import Classifier
from harden.threats import Linf
from tests.graph.conformance import LEVELS, difference, runtime
from tests.graph.layers import BOUNDED, CHANNELS, REFUSED, SIDE, UNEXPORTED, UNREAD

Build = Callable[[], nn.Module]
TOGETHER = 70
"""Layers of one export."""


class Branches(nn.Module):
    """Layers on the same maps, what they give next to each other, and a dense layer."""

    def __init__(self, layers: dict[str, Build]) -> None:
        super().__init__()
        self.before = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.layers = nn.ModuleList(build() for build in layers.values())
        self.head = nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 5)."""
        maps = self.before(x)
        found: Tensor = self.head(torch.cat([layer(maps).flatten(1) for layer in self.layers], 1))
        return found


def network(layers: dict[str, Build]) -> Classifier:
    """A classifier in inference mode, its weights drawn, its statistics not trivial."""
    torch.manual_seed(0)
    found = Branches(layers)
    found(torch.rand(4, 1, SIDE, SIDE))
    return Classifier(found.eval())


def exported(layers: dict[str, Build]) -> Iterator[onnx.ModelProto]:
    """For each layer the file up to what it gives."""
    whole = trace(network(layers), (1, SIDE, SIDE))
    joined = [node for node in whole.graph.node if node.op_type == "Concat"][-1]
    assert len(joined.input) == len(layers)
    for name in joined.input:
        file = onnx.ModelProto()
        file.CopyFrom(whole)
        file.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        yield file


@cache
def files() -> dict[str, onnx.ModelProto]:
    """By layer; what can be read of it is not known."""
    named: dict[str, Build] = BOUNDED | {name: build for name, (build, _) in (REFUSED | UNREAD).items()}
    names = list(named)
    found: dict[str, onnx.ModelProto] = {}
    for at in range(0, len(names), TOGETHER):
        part = {name: named[name] for name in names[at : at + TOGETHER]}
        found.update(zip(part, exported(part), strict=True))
    return found


def images(n: int) -> np.ndarray:
    """In [0, 1]."""
    return np.random.default_rng(1).random((n, 1, SIDE, SIDE), dtype=np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BOUNDED, *REFUSED])
def test_a_layer_is_computed_as_the_runtime_computes_it(name: str) -> None:
    file = files()[name]
    graph = read(file)
    assert difference(file, graph, images(3)) is None
    x = torch.from_numpy(images(2)).requires_grad_()
    (gradient,) = torch.autograd.grad(graph.run(x).square().sum(), x)
    assert bool(gradient.isfinite().all())
    assert bool(gradient.any())


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDED)
def test_a_layer_is_bounded_and_the_runtime_stays_inside(name: str) -> None:
    file = files()[name]
    program, threat = Program.of(read(file)), Linf("1/20")
    x = torch.from_numpy(images(1))
    with torch.no_grad():
        lower, upper = relax(program, Region.around(x, threat)).intervals[program.output]
    assert bool(lower.isfinite().all())
    noise = torch.rand(200, *x.shape[1:], generator=torch.Generator().manual_seed(0)) * 2 - 1
    points = x + noise / 20
    threat.project_(points, x.expand_as(points).contiguous())
    for level in LEVELS:
        found = runtime(file, points.numpy(), level)
        assert found is not None
        assert (found >= lower.numpy()).all()
        assert (found <= upper.numpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_without_a_bound_is_refused_by_the_operator(name: str) -> None:
    with pytest.raises(InputError) as raised:
        Program.of(read(files()[name]))
    said = str(raised.value)
    assert "\n" not in said
    assert said.startswith("operations without a sound bound: ")
    for operator in REFUSED[name][1].split(", "):
        assert re.search(rf"\b{operator} \(", said)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNREAD)
def test_a_layer_that_is_not_read_is_refused_by_the_operator(name: str) -> None:
    with pytest.raises(InputError) as raised:
        read(files()[name])
    assert "\n" not in str(raised.value)
    assert UNREAD[name][1] in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNEXPORTED)
def test_a_layer_that_torch_can_not_export_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ExportError, match=r"for which torch\.onnx has no ONNX") as raised:
        trace(network({name: UNEXPORTED[name]}), (1, SIDE, SIDE))
    assert "\n" not in str(raised.value)
