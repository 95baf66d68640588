"""A process's sessions share one allocator with a limit; where there is none, that is said."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import onnxruntime
import pytest

from harden.artefact.runtime import session_memory


def test_a_runtime_without_such_an_allocator_is_used_without_the_limit_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("no arena on this platform")

    monkeypatch.setattr(onnxruntime, "create_and_register_allocator", refused)
    monkeypatch.setattr(session_memory, "_made", [])
    with caplog.at_level(logging.WARNING, "harden"):
        session_memory.limit_arena.__wrapped__()
    assert not session_memory.is_limited()
    assert "is not limited: no arena on this platform" in caplog.text


def test_an_allocator_that_was_made_has_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    queried: list[int] = []

    class Config:
        def __init__(self, options: dict[str, int]) -> None:
            queried.append(options["max_mem"])

    monkeypatch.setattr(onnxruntime, "OrtArenaCfg", Config)
    monkeypatch.setattr(onnxruntime, "create_and_register_allocator", lambda *_: None)
    monkeypatch.setattr(session_memory, "_made", [])
    monkeypatch.setenv("HARDEN_MOST_RUNTIME_BYTES", "123456")
    session_memory.limit_arena.__wrapped__()
    assert session_memory.is_limited()
    assert queried == [123456]


RUN = """
import sys
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
from harden.artefact.runtime.session_memory import limit_arena
from harden.artefact.runtime.session import Session
from harden.errors import InputError

def ints(name, values): return numpy_helper.from_array(np.array(values, np.int64), name)
nodes = [
    helper.make_node("ReduceMax", ["image"], ["peak"], keepdims=0),
    helper.make_node("Mul", ["peak", "many"], ["long"]),
    helper.make_node("Cast", ["long"], ["size"], to=TensorProto.INT64),
    helper.make_node("Reshape", ["size", "flat"], ["shape"]),
    helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
    helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
    helper.make_node("Flatten", ["image"], ["pixels"]),
    helper.make_node("Add", ["pixels", "sum"], ["logits"]),
]
graph = helper.make_graph(
    nodes, "g",
    [helper.make_tensor_value_info("image", 1, ["batch", 1, 1, 3])],
    [helper.make_tensor_value_info("logits", 1, ["batch", 3])],
    [numpy_helper.from_array(np.float32(1e8), "many"), ints("flat", [1])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
limit_arena()
session = Session(model.SerializeToString(), exported=False)
print(session(np.zeros((2, 1, 1, 3), np.float32)).shape)
try:
    session(np.ones((2, 1, 1, 3), np.float32))
except InputError as error:
    print(error.instead)
"""


def test_sizes_that_follow_the_pixels_are_refused_and_what_follows_none_runs() -> None:
    """400 MB for white images and nothing for black ones: no look at the file and no trial shows it."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**os.environ, "HARDEN_MOST_RUNTIME_BYTES": "100000000"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    small, refused = done.stdout.splitlines()
    assert small == "(2, 3)"
    assert "set HARDEN_MOST_RUNTIME_BYTES if you trust the file" in refused
