"""What each command does when all is well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harden.artefact.artefact import Artefact
from harden.certificate.certificate_file import read

Harden = Callable[..., Any]
FAST = ("--steps", "3", "--restarts", "1")


def test_evaluate_of_a_folder_lets_the_file_decide(
    finished: Path, harden: Harden, npz: str, tmp_path: Path
) -> None:
    target = tmp_path / "deep" / "evaluation.json"
    answer = harden("evaluate", finished, "--data", npz, "--eps", "1/10", *FAST, "--json", target)
    assert (answer.code, answer.err) == (0, "")
    said = json.loads(target.read_text())
    assert said["status"] == "ok"
    assert said["threat"] == {"norm": "linf", "eps": "1/10", "bounds": [0.0, 1.0]}
    assert said["decided_by"] == f"{finished}/model.onnx in onnxruntime"
    assert said["clean"]["count"] == read(finished).predicate.clean.count
    for share in (said["clean"], said["robust"], *(a["robust"] for a in said["per_attack"].values())):
        assert share["n"] == 40
        assert share["value"] == share["count"] / 40
        low, high = share["interval"]
        assert 0 <= low <= share["value"] <= high <= 1
    assert {"pgd-3-ce", "pgd-3-margin"} < set(said["per_attack"])
    specs = [said["per_attack"][name]["spec"] for name in ("pgd-3-ce", "pgd-3-margin")]
    assert [spec["attack"]["steps"] for spec in specs] == [3, 3]
    assert said["seconds"] > 0
    assert said["passes"] > 0
    broken = sum(attack["broken"] for attack in said["per_attack"].values())
    assert said["robust"]["count"] == said["clean"]["count"] - broken
    assert sum(each["clean"]["n"] for each in said["per_class"].values()) == 40
    assert f"robust accuracy at most {100 * said['robust']['value']:.1f}" in answer.out


def test_attacks_steer_in_bfloat16_on_request_and_the_file_still_decides(
    finished: Path, harden: Harden, npz: str, tmp_path: Path
) -> None:
    found = []
    for words in ((), ("--bfloat16",)):
        target = tmp_path / f"{len(words)}.json"
        answer = harden("evaluate", finished, "--data", npz, "--eps", "1/10", *FAST, *words, "--json", target)
        assert (answer.code, answer.err) == (0, "")
        found.append(json.loads(target.read_text()))
    precisions = [{n: a["spec"]["precision"] for n, a in said["per_attack"].items()} for said in found]
    assert set(precisions[0].values()) == {"float32"}
    # Noise has no gradient: it queries the file itself.
    assert {name for name, kind in precisions[1].items() if kind == "float32"} == {"noise"}
    assert found[0]["clean"] == found[1]["clean"]
    assert abs(found[0]["robust"]["count"] - found[1]["robust"]["count"]) <= 2


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "small", "--attacks", "standard"),
        ("evaluate", "small", "--attacks", "thorough"),
        ("export", "small", "--out", "x"),
    ],
)
def test_numbers_of_record_are_measured_in_float32(harden: Harden, npz: str, words: tuple[str, ...]) -> None:
    answer = harden(*words, "--data", npz, "--eps", "1/10", "--bfloat16")
    assert answer.code == 2
    assert "--bfloat16 for" in answer.err
    assert "leave --bfloat16 out" in answer.err


def test_evaluate_of_an_unreliable_model_is_1_and_gives_no_number(
    models: str, harden: Harden, npz: str, tmp_path: Path
) -> None:
    target = tmp_path / "evaluation.json"
    words = ("--data", npz, "--eps", "1/10", *FAST, "--json", target)
    answer = harden("evaluate", f"{models}:quantised", *words)
    assert answer.code == 1
    assert "unreliable: zero gradients: share of correctly classified images whose margin has" in answer.out
    assert f"next, once the cause is mended: harden evaluate {models}:quantised --data {npz}" in answer.out
    assert "robust accuracy at most" not in answer.out
    said = json.loads(target.read_text())
    assert (said["status"], said["robust"]) == ("unreliable", None)
    assert said["checks"]["zero gradients"]["passed"] is False
    assert said["checks"]["zero gradients"]["value"] == 1.0


def test_weights_from_a_file(finished: Path, harden: Harden, npz: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    stored = load_file(finished / "checkpoint" / "weights.safetensors")
    bare = {name.removeprefix("network."): value for name, value in stored.items() if name[:8] == "network."}
    save_file(bare, tmp_path / "w.safetensors")
    words = ("--data", npz, "--eps", "1/10", *FAST, "--json", tmp_path / "e.json")
    assert harden("evaluate", "small", "--weights", tmp_path / "w.safetensors", *words).code == 0
    said = json.loads((tmp_path / "e.json").read_text())
    assert said["clean"]["count"] == read(finished).predicate.clean.count
    assert said["decided_by"] == "torch"


def test_evaluate_of_a_changed_file_is_1(folder: Path, harden: Harden, npz: str) -> None:
    path = folder / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    answer = harden("evaluate", folder, "--data", npz, *FAST)
    assert answer.code == 1
    assert answer.err.startswith(f"harden: {path} with sha256 ")
    assert answer.err.count("\n") == 1


def test_evaluate_with_weights_of_another_model_is_refused(
    folder: Path, finished: Path, harden: Harden, npz: str
) -> None:
    """Gradients of one model and verdicts of another: a number that flatters, with nothing to show it."""
    from safetensors.torch import load_file, save_file

    path = folder / "checkpoint" / "weights.safetensors"
    weights = {name: value * 1.05 for name, value in load_file(path).items()}
    save_file(weights, path)
    answer = harden("evaluate", folder, "--data", npz, "--eps", "1/10", *FAST)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "checkpoint" in answer.err


def test_an_artefact_of_the_command_line_loads_in_python(finished: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(finished, tmp_path / "moved")
    logits = Artefact(moved)(np.zeros((2, 1, 8, 8), np.float32))
    assert logits.shape == (2, 10)
