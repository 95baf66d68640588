"""harden certify: proofs of images and of VNN-LIB properties of a file, as a user meets them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.deployed.onnx_classifier import OnnxClassifier
from harden.evaluation.proofs.proof_report import ProofReport
from harden.models import Classifier
from tests.bounds.networks import Builder, dense_net
from tests.fitted import fitted

Harden = Callable[..., Any]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certify") / "model.onnx"
    onnx.save(trace(Classifier(fitted(load("digits"), 60)), (1, 8, 8)), path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certify") / "small.onnx"
    onnx.save(dense_net(0).model(), path)
    return path


def property_of(path: Path, half_width: float, rows: str) -> Path:
    """A box around (0.5, ...) of the small network, and rows."""
    lines = [f"(declare-const X_{at} Real)" for at in range(6)]
    lines += [f"(declare-const Y_{at} Real)" for at in range(4)]
    for at in range(6):
        lines.append(f"(assert (>= X_{at} {0.5 - half_width}))(assert (<= X_{at} {0.5 + half_width}))")
    path.write_text("\n".join([*lines, f"(assert {rows})"]))
    return path


def run(path: Path, x: Any) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


def others(path: Path) -> str:
    """Some other class is ahead."""
    y = int(run(path, np.full((1, 6), 0.5, np.float32)).argmax())
    return "(or " + " ".join(f"(and (>= Y_{at} Y_{y}))" for at in range(4) if at != y) + ")"


CALLS = 120
WORDS = ("--data", "digits", "--norm", "linf", "--test-images", "40")


def test_images_are_proved_broken_or_unknown(harden: Harden, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "proofs.json"
    words = (*WORDS, "--eps", "1/24", "--method", "crown", "--radius-steps", "2", "--json", out)
    answer = harden("certify", file, *words)
    assert answer.code == 0, answer.err
    report = ProofReport.model_validate_json(out.read_text())
    assert report.n == len(report.verdicts) == len(report.radii) == 40
    assert 0 < report.certified.count == report.verdicts.count("certified") < 40
    assert report.robust is not None
    assert report.certified.count <= report.robust.count <= report.clean.count
    assert {Fraction(radius) for radius in report.radii} <= {Fraction(level, 96) for level in range(5)}
    assert "at least: proved" in answer.out
    assert "clipped to the data's domain, [0, 1]" in answer.out
    again = harden("certify", file, *words[:-1], tmp_path / "again.json")
    assert again.code == 0
    one, other = (json.loads(path.read_text()) for path in (out, tmp_path / "again.json"))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_other_norms(harden: Harden, file: Path, tmp_path: Path, norm: str) -> None:
    out = tmp_path / "proofs.json"
    words = ("--data", "digits", "--test-images", "20", "--norm", norm, "--radius-steps", "0")
    answer = harden("certify", file, *words, "--eps", "1/20", "--method", "crown", "--json", out)
    assert answer.code == 0, answer.err
    said = json.loads(out.read_text())
    assert said["threat"]["norm"] == norm
    assert 10 < said["certified"]["count"] < 20


def test_a_journal_goes_on_and_belongs_to_one_command(harden: Harden, file: Path, tmp_path: Path) -> None:
    words = (*WORDS, "--eps", "1/24", "--method", "ibp", "--radius-steps", "1", "--journal", tmp_path / "j")
    first = harden("certify", file, *words, "--json", tmp_path / "one.json")
    assert first.code == 0, first.err
    second = harden("certify", file, *words, "--json", tmp_path / "two.json", "--minutes", "1e-7")
    assert second.code == 0, second.err
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one["radii"] == two["radii"]
    assert two["complete"]
    other = harden("certify", file, *words[:-2], "--seed", "1", *words[-2:])
    assert other.code == 2
    assert "another seed" in other.err


def test_time_that_does_not_suffice_is_said(harden: Harden, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.json"
    words = (*WORDS, "--eps", "1/24", "--minutes")
    answer = harden("certify", file, *words, "1e-7", "--json", out)
    assert answer.code == 2
    assert "expected time for one image" in answer.err
    assert not out.exists()
    for wrong in ("0", "-1", "nan", "inf"):
        answer = harden("certify", file, *words, wrong, "--json", out)
        assert (answer.code, f"--minutes {wrong}; expected a positive" in answer.err) == (2, True)
        assert not out.exists()


def test_what_was_not_attacked_and_not_tried_is_said(
    harden: Harden, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that each forward pass of the runtime moves on by a second, and by much more later."""
    now, calls, judge = [0.0], [0], OnnxClassifier.judge

    def slow(self: OnnxClassifier, x: Any) -> Any:
        calls[0] += 1
        now[0] += 1.0 if calls[0] < CALLS else 1000.0
        return judge(self, x)

    monkeypatch.setattr(OnnxClassifier, "judge", slow)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = tmp_path / "f.json"
    answer = harden("certify", file, *WORDS, "--eps", "1/24", "--minutes", "5", "--json", out)
    assert answer.code == 0, answer.err
    assert "time was up" in answer.out
    said = json.loads(out.read_text())
    assert not said["complete"]
    assert said["n"] + said["not_attacked"] == 40
    assert said["not_attacked"] > 0
    assert "were not attacked, and are in no number" in answer.out
    assert said["left"] == said["not_attacked"] + said["not_tried"] + said["stopped"]


@pytest.mark.parametrize(("half_width", "expected"), [(0.001, "unsat"), (5.0, "sat")])
def test_the_last_line_is_the_answer(
    harden: Harden, small: Path, tmp_path: Path, half_width: float, expected: str
) -> None:
    spec = property_of(tmp_path / "p.vnnlib", half_width, others(small))
    witness, out = tmp_path / "w.npy", tmp_path / "f.json"
    answer = harden("certify", small, "--vnnlib", spec, "--witness", witness, "--json", out)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == expected
    said = json.loads(out.read_text())
    assert said["answer"] == expected
    assert witness.exists() == (expected == "sat")
    if expected == "sat":
        x = np.load(witness)
        assert (x.shape, x.dtype) == ((1, 6), np.float32)
        assert float(np.abs(x - 0.5).max()) <= 5
        centre = run(small, np.full((1, 6), 0.5, np.float32)).argmax()
        logits = run(small, x)[0]
        assert max(np.delete(logits, centre)) >= logits[centre]
        assert logits.tolist() == said["output"]


def test_unknown_is_an_answer(harden: Harden, small: Path, tmp_path: Path) -> None:
    """The largest output over the box is somewhere between what attacks reach and what intervals bound."""
    points = np.random.default_rng(0).uniform(0.2, 0.8, (4000, 6)).astype(np.float32)
    above = float(run(small, points)[:, 0].max()) * 1.5 + 0.3
    spec = property_of(tmp_path / "p.vnnlib", 0.3, f"(>= Y_0 {above})")
    answer = harden("certify", small, "--vnnlib", spec, "--method", "ibp")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == "unknown"


def unsupported(path: Path) -> Path:
    net = Builder((6,))
    net.dense(6, 4)
    net.add("Softmax", axis=1)
    onnx.save(net.model(), path)
    return path


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ((), "neither --data nor --vnnlib"),
        (("--data", "digits", "--vnnlib", "{p}"), "both --data and --vnnlib"),
        (("--data", "digits", "--witness", "{tmp}/w.npy"), "--witness for images"),
        (("--vnnlib", "{tmp}/gone.vnnlib"), "No such file"),
        (("--vnnlib", "{pointer}"), "a Git LFS pointer"),
        (("--vnnlib", "{bytes}"), "not text"),
        (("--vnnlib", "{empty}"), "an empty box"),
        (("--vnnlib", "{p}", "--minutes", "0"), "--minutes 0"),
        (("--vnnlib", "{p}", "--method", "magic"), "--method magic"),
        (("--vnnlib", "{p}"), "a property of 6 inputs and 4 outputs; expected 64 and 10"),
        (("--data", "digits", "--radius-steps", "99"), "99 steps of bisection"),
        (("--data", "digits", "--eps", "2"), "eps"),
    ],
)
def test_what_makes_no_sense(
    harden: Harden, file: Path, tmp_path: Path, words: tuple[str, ...], seen: str
) -> None:
    places = {
        "p": property_of(tmp_path / "p.vnnlib", 0.1, "(>= Y_0 1)"),
        "empty": property_of(tmp_path / "e.vnnlib", -0.1, "(>= Y_0 1)"),
        "pointer": tmp_path / "pointer.vnnlib",
        "bytes": tmp_path / "bytes.vnnlib",
        "tmp": tmp_path,
    }
    places["pointer"].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    places["bytes"].write_bytes(b"\xff\xfe\x00")
    answer = harden("certify", file, *(word.format(**places) for word in words))
    assert answer.code == 2
    assert seen in answer.err
    assert answer.err.count("\n") == 1


def test_an_operator_without_a_bound_is_named(harden: Harden, tmp_path: Path) -> None:
    path = unsupported(tmp_path / "soft.onnx")
    spec = property_of(tmp_path / "p.vnnlib", 0.1, "(>= Y_0 1)")
    answer = harden("certify", path, "--vnnlib", spec)
    assert answer.code == 2
    assert "Softmax (v1: operation Softmax has no bound rule)" in answer.err
    assert "harden evaluate" in answer.err


def test_a_model_that_is_no_file(harden: Harden) -> None:
    answer = harden("certify", "small", "--data", "digits")
    assert answer.code == 2
    assert "expected an ONNX file, or a folder with a model.onnx" in answer.err


def test_branch_and_bound_answers_what_one_relaxation_leaves_open(
    harden: Harden, small: Path, tmp_path: Path
) -> None:
    answered = {}
    for half_width in (0.05, 0.1, 0.15, 0.2, 0.3):
        spec = property_of(tmp_path / "p.vnnlib", half_width, others(small))
        for method in ("crown", "branch-and-bound"):
            answer = harden("certify", small, "--vnnlib", spec, "--method", method)
            assert answer.code == 0, answer.err
            answered[half_width, method] = answer.out.splitlines()[-1]
    before = [said for (_, method), said in answered.items() if method == "crown"]
    after = [said for (_, method), said in answered.items() if method == "branch-and-bound"]
    assert "unknown" in before
    assert "unknown" not in after
    assert all(was in ("unknown", said) for was, said in zip(before, after, strict=True))


def test_images_with_branch_and_bound(harden: Harden, file: Path, tmp_path: Path) -> None:
    words = ("--data", "digits", "--test-images", "6", "--eps", "1/30", "--radius-steps", "0")
    levels = []
    for method in ("crown", "branch-and-bound"):
        answer = harden(
            "certify", file, *words, "--method", method, "--minutes", "0.2", "--json", tmp_path / "f.json"
        )
        assert answer.code == 0, answer.err
        said = json.loads((tmp_path / "f.json").read_text())
        levels.append(said["counts"]["certified"])
    assert "branch and bound" in said["method"]
    assert levels[1] >= levels[0]


def test_a_device_that_is_not_there(harden: Harden, file: Path, small: Path, tmp_path: Path) -> None:
    given = property_of(tmp_path / "p.vnnlib", 0.001, others(small))
    device = f"cuda:{torch.cuda.device_count()}"
    out = tmp_path / "out.json"
    for words in ((file, *WORDS), (small, "--vnnlib", given)):
        answer = harden("certify", *words, "--device", device, "--json", out)
        assert answer.code == 2
        assert answer.err.startswith(f"harden: device '{device}' with")
        assert not out.exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", ["crown", "branch-and-bound"])
def test_a_cuda_device_proves_what_the_cpu_does(
    harden: Harden, file: Path, tmp_path: Path, method: str
) -> None:
    found = []
    for device in ("cpu", "cuda"):
        out = tmp_path / f"{device}.json"
        words = (*WORDS, "--eps", "1/24", "--method", method, "--radius-steps", "1", "--device", device)
        answer = harden("certify", file, *words, "--json", out)
        assert answer.code == 0, answer.err
        found.append(json.loads(out.read_text())["counts"]["certified"])
    assert abs(found[0] - found[1]) <= 1
