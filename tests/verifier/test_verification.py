"""A stranger's folder with a seal that holds: nothing in it takes the verifier's time, memory or process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harden.certificate.graph_digest import graph_digest
from harden.system.size_limits import JSON_BYTES
from harden.verifier import limited_runtime, read_evidence
from harden.verifier.verification import verify

Forge = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def _broken(folder: Path) -> list[tuple[str, str, str]]:
    return [(c.name, c.file, c.detail) for c in verify(folder).checks if not c.passed]


def _put(folder: Path, model: onnx.ModelProto, forge: Forge) -> None:
    (folder / "model.onnx").write_bytes(model.SerializeToString())

    def edit(fields: dict[str, Any]) -> None:
        fields["subject"][0]["digest"]["graph"] = graph_digest(model)

    forge(folder, edit)


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
    _put(artefact, proto, forge)
    ((name, file, detail),) = _broken(artefact)
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
    _put(artefact, proto, forge)
    reason = "the model does not run: a graph with a Loop, which may run for ever"
    assert _broken(artefact) == [("replay", "model.onnx", reason)]


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
    ((name, file, detail),) = _broken(artefact)
    assert (name, file) == ("replay", "model.onnx")
    assert how in detail


def test_the_same_is_found_in_this_process_and_apart(artefact: Path) -> None:
    apart, here = verify(artefact), verify(artefact, isolated=False)
    assert apart.ok
    assert apart == here


def _evidence(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with np.load(folder / "evidence.npz") as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(folder / "evidence.npz", **arrays)


def test_arrays_of_the_other_byte_order_are_not_those_that_are_listed(artefact: Path, forge: Forge) -> None:
    def turn(arrays: dict[str, Any]) -> None:
        arrays["witness"] = arrays["witness"].astype(">f4")

    _evidence(artefact, turn)
    forge(artefact, lambda fields: None)
    ((name, file, detail),) = _broken(artefact)
    assert (name, file) == ("arrays", "evidence.npz")
    assert ">f4" in detail


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(
    artefact: Path, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_evidence, "_UNPACKED", 1000)
    monkeypatch.setattr(read_evidence, "_RATIO", 2)
    with np.load(artefact / "evidence.npz") as file:
        arrays = {name: file[name] * 0 for name in file.files}
    np.savez_compressed(artefact / "evidence.npz", **arrays)
    forge(artefact, lambda fields: None)
    ((name, _, detail),) = _broken(artefact)
    assert name == "arrays"
    assert "would unpack to" in detail


def test_a_header_that_promises_more_than_the_file_holds_takes_no_memory(
    artefact: Path, forge: Forge
) -> None:
    """10^15 witnesses, consistently: the member that should hold them is compared before it is read."""

    def edit(fields: dict[str, Any]) -> None:
        stored, shape = fields["predicate"]["evidence"], fields["predicate"]["data"]["image_shape"]
        stored["witnesses"] = 10**15
        for name, array in stored["arrays"].items():
            array["shape"] = [10**15, *(shape if name in ("original", "witness") else [])]

    content = io.BytesIO()
    with zipfile.ZipFile(artefact / "evidence.npz") as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            count = member[10:128].split(b"(")[1].split(b",")[0]
            new.writestr(name, member.replace(b"(" + count, b"(" + str(10**15).encode(), 1))
    (artefact / "evidence.npz").write_bytes(content.getvalue())
    forge(artefact, edit)
    found = _broken(artefact)
    assert ("arrays", "evidence.npz") in [(name, file) for name, file, _ in found] or found[0][0] == "counts"


def test_an_image_too_large_to_be_made_is_refused(artefact: Path, forge: Forge) -> None:
    def edit(fields: dict[str, Any]) -> None:
        data = fields["predicate"]["data"]
        data["image_shape"] = [3, 100_000, 100_000]
        arrays = fields["predicate"]["evidence"]["arrays"]
        for name in ("original", "witness"):
            arrays[name]["shape"][1:] = data["image_shape"]

    forge(artefact, edit)
    ((name, file, detail),) = _broken(artefact)
    assert (name, file) == ("arrays", "evidence.npz")
    assert "images (3, 100000, 100000)" in detail


def test_a_proportion_of_more_images_than_there_are_is_not_computed(artefact: Path, forge: Forge) -> None:
    """Its interval would take the longer the larger n, and overflow float64 in the end."""

    def edit(fields: dict[str, Any]) -> None:
        share = {"value": 0.5, "count": 2**62, "n": 2**63, "interval": [0.4999, 0.5001], "confidence": 0.95}
        fields["predicate"]["comparison"] = {"name": "x", "status": "ok", "clean": share, "robust": share}

    forge(artefact, edit)
    assert "proportions" in [name for name, _, _ in _broken(artefact)]


@pytest.mark.parametrize("text", ['"\\ud800"', "[" * 100 + "]" * 100, "[" * 100_000])
def test_json_that_could_not_be_written_again_is_no_certificate(artefact: Path, text: str) -> None:
    (artefact / "certificate.json").write_text('{"a": ' + text + "}")
    ((name, file, _),) = _broken(artefact)
    assert (name, file) == ("seal", "certificate.json")


def test_a_certificate_too_large_to_be_one_is_not_read(
    artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JSON_BYTES.variable, "1000")
    ((name, _, detail),) = _broken(artefact)
    assert name == "seal"
    assert "at most 1,000 unless HARDEN_MOST_JSON_BYTES says more" in detail
    assert json.loads((artefact / "certificate.json").read_bytes())


def test_a_graph_that_does_not_say_its_shapes_is_refused(
    artefact: Path, forge: Forge, proto: onnx.ModelProto
) -> None:
    """harden's own session refuses it too: what is verified can be used."""
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    _put(artefact, proto, forge)
    ((name, file, detail),) = _broken(artefact)
    assert (name, file) == ("replay", "model.onnx")
    assert "expected (batch, C, H, W) and (batch, K)" in detail


def test_modules_in_the_strangers_folder_are_not_imported(artefact: Path) -> None:
    for name in ("numpy", "onnx", "onnxruntime", "harden", "struct", "threading"):
        (artefact / f"{name}.py").write_text("open('owned', 'w').write('')\nraise SystemExit(3)\n")
    script = Path(sys.executable).with_name("harden")
    for words in ([str(script), "verify", "."], [sys.executable, "-P", "-m", "harden.verifier", "."]):
        done = subprocess.run(words, cwd=artefact, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1].startswith("verified: ")
        assert not (artefact / "owned").exists()
