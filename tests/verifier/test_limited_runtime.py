"""Execution of a stranger's file: its ports are checked, its process is limited, every end is an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from harden.errors import InputError
from harden.verifier import limited_runtime
from harden.verifier.limited_runtime import first_line, open_in_child, open_in_process
from harden.verifier.verification import verify
from tests.verifier.artefacts import Forge, broken, put
from tests.verifier.conftest import SHAPE


def test_a_file_runs_apart_as_it_does_here(proto: onnx.ModelProto) -> None:
    content = proto.SerializeToString()
    x = np.random.default_rng(0).random((5, *SHAPE)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    expected = session.run(["logits"], {"image": x})[0]
    for opened in (open_in_process, open_in_child):
        with opened(content) as run:
            for batch in (x, x[:2]):  # one request after another
                found = run(batch)
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, expected[: len(batch)], rtol=1e-5, atol=1e-6)


def _image(model: onnx.ModelProto, name: str) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = name


def _logits(model: onnx.ModelProto, name: str) -> None:
    model.graph.output[0].name = model.graph.node[1].output[0] = name


def test_other_ports_are_refused_by_name(proto: onnx.ModelProto) -> None:
    for change, name, said in (
        (_image, "x", "'x'.*expected one float32 'image'"),
        (_logits, "y", "'logits'"),
    ):
        model = onnx.ModelProto()
        model.CopyFrom(proto)
        change(model, name)
        with pytest.raises(ValueError, match=said), open_in_process(model.SerializeToString()):
            pass


def test_an_error_is_one_line() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError("x" * 500)) == "x" * 200
    assert first_line(KeyError()) == "KeyError"
    assert first_line(InputError("a graph with a Loop", "none", "leave it out")) == "a graph with a Loop"


def _before(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Let the image go through nodes that give `seen`."""
    old = list(model.graph.node)
    old[0].input[0] = "seen"
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old])


def test_a_graph_that_takes_all_memory_is_a_broken_claim(
    artefact: Path, forge: Forge, proto: onnx.ModelProto
) -> None:
    """One node of a few bytes allocates 64 GB."""
    size = numpy_helper.from_array(np.array([2**34]), "size")
    proto.graph.initializer.append(size)
    one = numpy_helper.from_array(np.ones(1, np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["large"], value=one),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=1),
        helper.make_node("Mul", ["image", "most"], ["seen"]),
    ]
    _before(proto, nodes)
    put(artefact, proto, forge)
    ((name, file, detail),) = broken(artefact)
    assert (name, file) == ("replay", "model.onnx")
    assert detail.startswith("the model does not run: ")


def test_a_loop_is_not_run(artefact: Path, forge: Forge, proto: onnx.ModelProto) -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Relu", ["a"], ["b"])],
        "body",
        [info("i", 7, []), info("go", 9, []), info("a", 1, None)],
        [info("still", 9, []), info("b", 1, None)],
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "turns"))
    _before(proto, [helper.make_node("Loop", ["turns", "", "image"], ["seen"], body=body)])
    put(artefact, proto, forge)
    reason = "the model does not run: a graph with a Loop, which may run for ever"
    assert broken(artefact) == [("replay", "model.onnx", reason)]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os.abort()", "exit code -6"),
        ("import time; time.sleep(60)", "it gave no answer within 0.2 s"),
        ("import sys; sys.stdout.buffer.write(b'\\xff' * 64)", "an answer of 18446744073709551615 bytes"),
    ],
    ids=["crash", "hang", "babble"],
)
def test_however_the_runtimes_process_ends_it_is_an_answer(
    artefact: Path, monkeypatch: pytest.MonkeyPatch, code: str, how: str
) -> None:
    monkeypatch.setattr(limited_runtime, "_CHILD", code)
    if "sleep" in code:
        monkeypatch.setattr(limited_runtime, "ANSWER_SECONDS", 0.2)
    ((name, file, detail),) = broken(artefact)
    assert (name, file) == ("replay", "model.onnx")
    assert how in detail


def test_the_same_is_found_in_this_process_and_apart(artefact: Path) -> None:
    apart, here = verify(artefact), verify(artefact, isolated=False)
    assert apart.ok
    assert apart == here


def test_a_graph_that_does_not_say_its_shapes_is_refused(
    artefact: Path, forge: Forge, proto: onnx.ModelProto
) -> None:
    """harden's own session refuses it too: what is verified can be used."""
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    put(artefact, proto, forge)
    ((name, file, detail),) = broken(artefact)
    assert (name, file) == ("replay", "model.onnx")
    assert "expected (batch, C, H, W) and (batch, K)" in detail
