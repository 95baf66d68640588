"""What changes nothing of what a file computes changes no verdict; what does, changes it rightly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from harden.bounds import Method, Program, certify
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS, runtime

NAMES = ("dense", "conv", "residual")
EPS = Linf("1/40")
METHOD = Method(climb=None)


def verdicts(
    model: onnx.ModelProto, x: Tensor, y: Tensor, threat: Linf = EPS, method: Method = METHOD
) -> list[float]:
    margins: list[float] = certify(Program.of(read(model)), x, y, threat, method).margins.tolist()
    return margins


def made(kind: str) -> tuple[onnx.ModelProto, Tensor, Tensor]:
    built = KINDS[kind](4)
    model = built.model()
    x = torch.rand(10, *built.shape, generator=torch.Generator().manual_seed(1))
    return model, x, torch.from_numpy(runtime(model)(x.numpy()).argmax(1))


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.CopyFrom(model)
    return found


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every node and every value but the ports has another name."""
    found = copied(model)
    ports = {port.name for port in (*found.graph.input, *found.graph.output)}
    for number, node in enumerate(found.graph.node):
        node.name = f"of no importance {number}"
        for names in (node.input, node.output):
            names[:] = [name if name in ports else f"other/{name}.x" for name in names]
    for tensor in found.graph.initializer:
        tensor.name = f"other/{tensor.name}.x"
    del found.graph.value_info[:]
    return found


def encoded_otherwise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights as lists of numbers in place of bytes."""
    found = copied(model)
    for tensor in found.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(
            helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.flatten().tolist())
        )
    return found


def constants_as_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights as Constant nodes: folded when the file is read."""
    found = copied(model)
    nodes = [helper.make_node("Constant", [], [each.name], value=each) for each in found.graph.initializer]
    kept = list(found.graph.node)
    del found.graph.initializer[:]
    del found.graph.node[:]
    found.graph.node.extend([*nodes, *kept])
    return found


def with_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """An Identity after every node but the last."""
    found = copied(model)
    kept = list(found.graph.node)
    moved = {name: f"{name}_copy" for node in kept[:-1] for name in node.output}
    nodes = []
    for node in kept:
        node.input[:] = [moved.get(name, name) for name in node.input]
        nodes.append(node)
        nodes += [
            helper.make_node("Identity", [name], [moved[name]]) for name in node.output if name in moved
        ]
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    return found


@pytest.mark.parametrize("change", [renamed, encoded_otherwise, constants_as_nodes, with_identities])
@pytest.mark.parametrize("kind", NAMES)
def test_what_computes_the_same_is_bounded_the_same(
    kind: str, change: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    model, x, y = made(kind)
    other = change(model)
    onnx.checker.check_model(other)
    assert np.array_equal(runtime(other)(x.numpy()), runtime(model)(x.numpy()))
    one, same = verdicts(model, x, y), verdicts(other, x, y)
    # An Identity is charged for what float64 may round: a hair's breadth.
    assert np.allclose(one, same, rtol=0, atol=1e-9)
    assert [margin > 0 for margin in one] == [margin > 0 for margin in same]
    assert any(margin > 0 for margin in one)


@pytest.mark.parametrize("kind", NAMES)
def test_permuted_classes_are_bounded_the_same(kind: str) -> None:
    model, x, y = made(kind)
    classes = runtime(model)(x.numpy()).shape[1]
    order = np.random.default_rng(0).permutation(classes)
    found = copied(model)
    last = found.graph.node[-1]
    assert last.op_type == "Gemm"
    for tensor in found.graph.initializer:
        if tensor.name in last.input[1:]:
            array = numpy_helper.to_array(tensor)[..., order]
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    place = torch.from_numpy(np.argsort(order))
    assert np.allclose(verdicts(found, x, place[y]), verdicts(model, x, y), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", NAMES)
def test_a_smaller_ball_is_proved_where_a_larger_one_is(kind: str) -> None:
    model, x, y = made(kind)
    before = [True] * len(x)
    counts = []
    for eps in ("1/200", "1/100", "1/50", "1/25", "1/10", "1/3"):
        now = [margin > 0 for margin in verdicts(model, x, y, Linf(eps))]
        assert all(was or not proved for was, proved in zip(before, now, strict=True))
        before = now
        counts.append(sum(now))
    assert counts[0] > counts[-1]


@pytest.mark.parametrize("kind", NAMES)
def test_a_scaled_head_keeps_every_verdict(kind: str) -> None:
    """Twice the logits, a power of two: float32 rounds nothing more, and margins double."""
    model, x, y = made(kind)
    found = copied(model)
    for tensor in found.graph.initializer:
        if tensor.name in found.graph.node[-1].input[1:]:
            doubled = 2 * numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(doubled, tensor.name))
    assert np.allclose(verdicts(found, x, y), 2 * np.array(verdicts(model, x, y)), rtol=1e-6, atol=1e-9)
