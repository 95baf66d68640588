"""What each command does when all is well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harden.artefact.artefact import Artefact
from harden.certificate.certificate_file import read
from harden.data import Splits, load

Harden = Callable[..., Any]
FAST = ("--steps", "3", "--restarts", "1")
FILES = {"certificate.json", "checkpoint", "evidence.npz", "history.jsonl", "model.onnx", "report.html"}


def test_run_leaves_a_whole_folder_that_verifies(finished: Path, harden: Harden) -> None:
    assert {path.name for path in finished.iterdir()} == FILES
    assert {path.name for path in (finished / "checkpoint").iterdir()} == {
        "model.json",
        "plan.json",
        "weights.safetensors",
    }
    answer = harden("verify", finished)
    assert (answer.code, answer.err) == (0, "")
    predicate = read(finished).predicate
    assert predicate.status == "ok"
    assert (predicate.threat.eps, predicate.data.n) == ("1/10", 40)
    assert predicate.clean.value > 0.4  # it learned something, so that attacks below have something to break
    assert predicate.evidence.witnesses > 0
    assert predicate.comparison is None  # fresh weights: nothing to compare with
    points = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points] == sorted(point["step"] for point in points)
    assert {point["stage"] for point in points} == {"finetune"}
    assert any(point["robust"] is not None for point in points)


def test_runs_json_says_what_the_certificate_says(finished: Path) -> None:
    said = json.loads((finished.parent / "run.json").read_text())
    predicate = read(finished).predicate
    assert said["status"] == "ok"
    assert said["threat"] == {"norm": "linf", "eps": "1/10", "bounds": [0.0, 1.0]}
    for name, share in (("clean", predicate.clean), ("robust", predicate.bracket.robust)):
        assert (said[name]["count"], said[name]["n"]) == (share.count, 40)
        assert said[name]["interval"] == list(share.interval)
    assert said["certified"]["count"] == 0
    assert said["before"] is None
    assert said["seconds"] > 0
    (stage,) = said["stages"]
    assert (stage["name"], stage["objective"]["kind"]) == (
        "finetune",
        "harden.objectives:Standard",
    )


@pytest.mark.parametrize(
    ("pretrain", "finetune", "budget", "kinds"),
    [
        ("simclr", "trades", 20, ["SimCLR", "TRADES"]),
        ("none", "madry", 20, ["AdversarialTraining"]),
        ("simclr", "probe", 6, ["SimCLR", "LinearProbe"]),
        ("none", "ibp", 6, ["IBP"]),
    ],
)
def test_recipes_go_through_the_same_command(
    harden: Harden, npz: str, tmp_path: Path, pretrain: str, finetune: str, budget: int, kinds: list[str]
) -> None:
    words = ("--pretrain", pretrain, "--finetune", finetune, "--budget", f"{budget}E", "--beta", "2.5")
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", *words, *FAST)
    assert (answer.code, answer.err) == (0, "")
    assert f"recipe {pretrain} + {finetune}   budget {budget}E" in answer.out
    provenance = read(tmp_path / "out").predicate.provenance
    objectives = [str(stage.objective["kind"]).partition(":")[2] for stage in provenance.stages]
    assert objectives == kinds
    assert "TRADES" not in kinds or provenance.stages[-1].objective["beta"] == 2.5
    # The budget is of the whole run; a stage may overshoot by a step and a validation.
    assert budget <= sum(stage.epochs_equivalent for stage in provenance.stages) < budget + 14
    assert harden("verify", tmp_path / "out").code == 0


def test_the_same_run_gives_the_same_model(
    finished: Path, run_words: list[str], harden: Harden, tmp_path: Path
) -> None:
    for name, seed in (("again", 0), ("other", 1)):
        assert harden(*run_words, "--out", tmp_path / name, "--seed", seed).code == 0
    for name in ("model.onnx", "evidence.npz"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()
    assert (tmp_path / "other" / "model.onnx").read_bytes() != (finished / "model.onnx").read_bytes()


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


def test_a_users_function_gets_the_sizes_it_asks_for(
    models: str, harden: Harden, npz: str, tmp_path: Path
) -> None:
    words = ("--data", npz, "--eps", "1/10", *FAST)
    normalisation = ("--mean", "0.3", "--std", "0.4")
    assert harden("export", f"{models}:sized", *words, *normalisation, "--out", tmp_path / "out").code == 0
    stored = json.loads((tmp_path / "out" / "checkpoint" / "model.json").read_text())
    named = {"spec": f"{models}:sized", "mean": [0.3], "std": [0.4], "head": "", "output": ""}
    assert stored == {**named, "weights": None}
    assert harden("evaluate", tmp_path / "out", *words).code == 0


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_export_of_a_runs_folder_is_a_runs_folder(
    finished: Path, harden: Harden, npz: str, tmp_path: Path, norm: str
) -> None:
    words = ("--data", npz, "--norm", norm, "--eps", "1/2", *FAST)
    answer = harden("export", finished, *words, "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (finished / "model.onnx").read_bytes()
    assert read(tmp_path / "out").predicate.threat.norm == norm
    assert harden("verify", tmp_path / "out").code == 0
    assert harden("evaluate", tmp_path / "out", *words).code == 0


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


def test_report_writes_the_same_page_again(folder: Path, harden: Harden, tmp_path: Path) -> None:
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    answer = harden("report", folder)
    assert (answer.code, answer.err) == (0, "")
    assert (folder / "report.html").read_bytes() == page
    assert harden("report", folder, "--out", tmp_path / "new" / "page.html").code == 0
    assert (tmp_path / "new" / "page.html").read_bytes() == page


def test_report_of_an_edited_certificate_is_1(folder: Path, harden: Harden) -> None:
    path = folder / "certificate.json"
    path.write_text(path.read_text().replace('"eps": "1/10"', '"eps": "1/5"'))
    answer = harden("report", folder)
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "has changed since it was sealed" in answer.err


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


def test_doctor_names_the_kernels_and_why(harden: Harden, tmp_path: Path) -> None:
    answer = harden("doctor", "--json", tmp_path / "doctor.json")
    found = json.loads((tmp_path / "doctor.json").read_text())
    assert answer.code == (1 if "FAILED" in found["kernels on cpu"] else 0)
    assert torch.__version__.startswith(found["torch"])
    assert found["numpy"] == np.__version__
    assert found["kernels on cpu"].partition(":")[0] in (
        "native",
        "torch",
        "FAILED to load, plain torch instead",
    )
    assert found["kernels on cpu"].partition(": ")[2]
    for name in found:
        assert name in answer.out


def test_doctor_without_native_kernels_says_torch_and_why(installed: Harden) -> None:
    answer = installed("doctor", HARDEN_NATIVE="0")
    assert answer.code == 0
    (line,) = (line for line in answer.out.splitlines() if line.startswith("kernels on cpu"))
    assert line.split("kernels on cpu")[1].strip().startswith("torch: ")
    assert "HARDEN_NATIVE" in line


def test_demo_does_the_whole_job(harden: Harden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harden.cli.commands.demo.PLAIN_BUDGET", "2epochs")
    monkeypatch.setattr("harden.cli.commands.demo.BUDGET", "25E")
    monkeypatch.setattr("harden.cli.commands.demo.load", _few)
    answer = harden("demo", "--out", tmp_path / "out", "--json", tmp_path / "demo.json")
    assert (answer.code, answer.err) == (0, "")
    said = json.loads((tmp_path / "demo.json").read_text())
    assert said["before"]["name"] == "trained plainly"
    assert [stage["name"] for stage in said["stages"]] == ["pretrain", "finetune"]
    assert "trained plainly" in answer.out
    assert harden("verify", tmp_path / "out").code == 0
    assert harden("evaluate", tmp_path / "out", "--data", "digits", "--eps", "1/10", *FAST).code in (0, 1)


def _few(spec: str) -> Splits:
    splits = load(spec)
    train, test = splits.train.take(torch.arange(240)), splits.test.take(torch.arange(40))
    return Splits(train, test, splits.name)


def test_an_artefact_of_the_command_line_loads_in_python(finished: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(finished, tmp_path / "moved")
    logits = Artefact(moved)(np.zeros((2, 1, 8, 8), np.float32))
    assert logits.shape == (2, 10)
