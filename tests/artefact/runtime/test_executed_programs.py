"""What sessions execute for a file, with bounds for each graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.artefact.runtime.executed_programs import THREADS, executions
from harden.bounds import certify
from harden.bounds.region import Region
from harden.certificate.optimisation_levels import LEVELS
from harden.errors import InputError
from harden.evaluation.proofs.runtime_agreement import disagreement, points_of
from harden.threats import Linf
from tests.bounds.networks import Builder
from tests.graph.graphs import constant, model


def padded_pool(count: int) -> onnx.ModelProto:
    """max over (0, x_i, 0) in the file; x_i alone where a session fuses Pad and MaxPool. Then sums."""
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("MaxPool", ["p"], ["m"], kernel_shape=[1, 3]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    w = np.tile(np.array([[1, -1]], dtype=np.float32), (count, 1))
    constants = [
        constant("pads", np.array([0, 0, 0, 1, 0, 0, 0, 1])),
        constant("w", w),
        constant("b", np.array([1, 0], dtype=np.float32)),
    ]
    return model(nodes, ("n", 1, count, 1), constants)


def test_sessions_of_every_level_and_number_of_threads_agree_with_bounds(tmp_path: Path) -> None:
    net = Builder((3, 8, 8))
    net.conv(3, 10, pads=[1, 1, 1, 1])
    net.batch_norm(10)
    net.add("Relu")
    net.conv(10, 16)
    net.add("Relu")
    net.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Flatten")
    net.dense(144, 4)
    path = tmp_path / "model.onnx"
    onnx.save(net.model(), path)
    found = executions(path)
    names = sorted(name for each in found for name in each.runtimes)
    assert names == sorted(f"{level}, {n} thread{'s' * (n > 1)}" for level in LEVELS for n in THREADS)
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    points = points_of(Region.around(x, Linf("1/10")), torch.Generator().manual_seed(0))
    assert [disagreement(each, points) for each in found] == [None] * len(found)


def test_what_only_the_file_as_written_keeps_is_not_certified() -> None:
    """At x = -1/2 the file as written sums to 1; what a session executes, to 1 - count / 2."""
    count = 8
    found = executions(padded_pool(count).SerializeToString())
    assert [each.levels for each in found] == [("disabled",), ("basic", "extended", "all")]
    x, y = torch.zeros(1, 1, count, 1), torch.zeros(1, dtype=torch.int64)
    threat = Linf("1/2", bounds=(-1.0, 1.0))
    as_written, as_executed = (each.program for each in found)
    assert bool(certify(as_written, x, y, threat).certified)
    assert not bool(certify(as_executed, x, y, threat).certified)
    assert not bool(certify((as_written, as_executed), x, y, threat).certified)
    near = Linf("1/20", bounds=(-1.0, 1.0))
    both = certify((as_written, as_executed), x, y, near)
    assert bool(both.certified)
    assert float(both.margins) == min(
        float(certify(each, x, y, near).margins) for each in (as_written, as_executed)
    )


def test_a_graph_without_a_bound_is_named_with_its_level() -> None:
    """A Softmax has none, at the level of the file as written."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Softmax", ["f"], ["y"], axis=1)]
    with pytest.raises(InputError, match=r"without a sound bound: Softmax"):
        executions(model(nodes, ("n", 1, 1, 4)).SerializeToString())
