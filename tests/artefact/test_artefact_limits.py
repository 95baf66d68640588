"""A stranger's artefact with a seal that holds: what its graph may cost in the process of who loads it."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import harden
from harden.artefact import artefact as artefact_module
from harden.artefact.artefact import Artefact
from harden.artefact.runtime.session_memory import is_limited
from harden.certificate.canonical_json import sha256_bytes
from harden.certificate.untrusted import trial_load
from harden.certificate.untrusted.onnx_limits import MOST_NODES
from harden.errors import InputError
from harden.system.size_limits import PROCESS_BYTES, TRIAL_SECONDS
from tests.bad_input.documents import write_sealed
from tests.certificate.untrusted.test_trial_load import LARGE, classifier

Planted = Callable[[bytes], Artefact]
node = helper.make_node


@pytest.fixture
def planted(issued: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Makes an artefact whose certificate is about another graph, as a forger would."""
    monkeypatch.setattr(trial_load, "_passed", {})
    folder = Path(shutil.copytree(issued, tmp_path / "planted"))

    def plant(content: bytes) -> Artefact:
        fields: dict[str, Any] = dict(harden.load(issued).certificate.model_dump(mode="json", by_alias=True))
        (folder / "model.onnx").write_bytes(content)
        for subject in fields["subject"]:
            if subject["name"] == "model.onnx":
                subject["digest"]["sha256"] = sha256_bytes(content)
        write_sealed(folder, fields)
        return harden.load(folder)

    return plant


def chain(count: int, operator: str = "Relu", **more: Any) -> bytes:
    """So many nodes, one after the other."""
    names = ["image", *(f"x{number}" for number in range(1, count)), "seen"]
    constants = {"one": np.ones((1, 1, 1, 1), np.float32)} if operator == "Conv" else {}
    nodes = [node(operator, [before, *constants], [after], **more) for before, after in pairwise(names)]
    return classifier(nodes, constants)


def refusal(artefact: Artefact) -> InputError:
    """What comes of the first images: one line that names the file, and nothing of onnxruntime's here."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        artefact(np.zeros((1, 1, 4, 4), np.float32))
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 200 * 2**20
    assert str(artefact.folder / "model.onnx") in caught.value.seen
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize("kind", LARGE)
def test_a_graph_that_makes_much_is_refused_before_it_is_run_here(
    kind: str, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROCESS_BYTES.variable, str(2**29))
    refused = refusal(planted(LARGE[kind]))
    assert "does not load and answer one image in a limited process" in refused.seen
    assert PROCESS_BYTES.variable in refused.instead


def test_six_gigabytes_of_zeros_are_refused_by_the_usual_limit(planted: Planted) -> None:
    zeros = classifier(
        [
            node("ConstantOfShape", ["n"], ["large"]),
            node("ReduceMax", ["large"], ["most"], keepdims=0),
            node("Add", ["image", "most"], ["seen"]),
        ],
        {"n": np.array([1_500_000_000])},
    )
    assert "in a limited process" in refusal(planted(zeros)).seen


def test_nodes_that_take_minutes_to_load_are_ended(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions that onnxruntime would fuse; it takes more than a minute over them."""
    monkeypatch.setenv(TRIAL_SECONDS.variable, "5")
    refused = refusal(planted(chain(19_000, "Conv")))
    assert "it gave no answer within 5 s" in refused.seen
    assert TRIAL_SECONDS.variable in refused.instead


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (chain(MOST_NODES), f"a graph of {MOST_NODES + 2:,} nodes once its functions are copied in"),
        (classifier([node("Nonsense", ["image"], ["seen"], domain="other")], {}), "the operator 'Nonsense'"),
    ],
    ids=["nodes", "foreign operator"],
)
def test_what_a_runtime_is_not_given_is_said_as_before(content: bytes, seen: str, planted: Planted) -> None:
    refused = refusal(planted(content))
    assert seen in refused.seen
    assert refused.expected == "an image classifier's graph in one file"


def test_a_loop_is_not_run(planted: Planted) -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], ["still"]), node("Relu", ["a"], ["b"])],
        "body",
        [info("i", 7, []), info("go", 9, []), info("a", 1, None)],
        [info("still", 9, []), info("b", 1, None)],
    )
    content = classifier(
        [node("Loop", ["turns", "", "image"], ["seen"], body=body)], {"turns": np.array(2**62)}
    )
    assert "a graph with a Loop, which may run for ever" in refusal(planted(content)).seen


def test_the_bytes_that_were_digested_are_tried_and_run(
    issued: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(issued, tmp_path / "artefact"))
    opened: list[tuple[bytes, bool]] = []

    def session(content: bytes, *, name: str, tried: bool) -> str:
        opened.append((content, tried))
        return name

    monkeypatch.setattr(artefact_module, "Session", session)
    artefact = harden.load(folder)
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(LARGE["ConstantOfShape"])
    assert str(artefact.session) == str(folder / "model.onnx")
    assert opened == [(whole, True)]


def test_an_honest_artefact_runs_within_the_limits_and_is_tried_once(
    issued: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_load, "_passed", {})
    images = np.zeros((2, 1, 8, 8), np.float32)
    logits = harden.load(issued)(images)
    assert is_limited()
    monkeypatch.setattr(trial_load, "_CHILD", "raise SystemExit(3)")
    np.testing.assert_array_equal(harden.load(issued)(images), logits)
    monkeypatch.setattr(trial_load, "_passed", {})
    with pytest.raises(InputError, match="exit code 3"):
        harden.load(issued)(images)


def test_the_trial_needs_no_torch(issued: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import numpy, harden
from harden.certificate.untrusted import trial_load as trial
artefact = harden.load({str(issued)!r})
assert not trial._passed
artefact(numpy.zeros((1, 1, 8, 8), numpy.float32))
print(len(trial._passed))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
