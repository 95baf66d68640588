"""harden check and harden baseline, end to end: a network of digits, hardened a little, as an ONNX file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from harden.artefact import attack_and_prove
from harden.artefact.classifier_to_onnx import trace
from harden.data import Splits, load
from harden.models import Classifier, pass_count
from tests.fitted import fitted

Harden = Callable[..., Any]
ATTACK = ("--norm", "linf", "--eps", "1/16", "--attacks", "pgd", "--steps", "5", "--restarts", "1")
N = 900


def attacked(network: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A single step: what this test hardens by is no code under test."""
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(point), y), point)
    return (x + gradient.sign() / 12).clamp(0, 1)


def hardened(digits: Splits, steps: int) -> nn.Sequential:
    network, x, y = fitted(digits, 60), digits.train.x[:800], digits.train.y[:800]
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(steps):
        worse = attacked(network, x, y)
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(worse), y))
        optimiser.step()
    return network


def save(network: nn.Sequential, path: Path) -> Path:
    onnx.save(trace(Classifier(network), (1, 8, 8)), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data spec: the 900 digits that no network here was trained on."""
    splits, path = load("digits"), tmp_path_factory.mktemp("gate") / "digits.npz"
    x = torch.cat((splits.train.x[800:], splits.test.x))[:N].permute(0, 2, 3, 1).numpy()
    y = torch.cat((splits.train.y[800:], splits.test.y))[:N].numpy()
    train = splits.train.x[:800].permute(0, 2, 3, 1).numpy(), splits.train.y[:800].numpy()
    np.savez(path, x_train=train[0], y_train=train[1], x_test=x, y_test=y)
    return f"npz:{path}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model that is kept, one that is a little better, one as it was before it was hardened."""
    digits, folder = load("digits"), tmp_path_factory.mktemp("models")
    networks = {"kept": hardened(digits, 40), "better": hardened(digits, 60), "plain": fitted(digits, 60)}
    return {name: save(network, folder / f"{name}.onnx") for name, network in networks.items()}


@pytest.fixture(scope="module")
def committed(files: dict[str, Path], data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from harden.cli import main

    path = tmp_path_factory.mktemp("repository") / "robustness-baseline.json"
    words = ["baseline", "update", str(files["kept"]), "--data", data, *ATTACK, "--baseline", str(path)]
    assert main(words) == 0
    return path


@pytest.fixture
def check(harden: Harden, data: str, committed: Path) -> Harden:
    def run(model: Path, *words: object, data: str = data, baseline: Path = committed) -> Any:
        return harden("check", model, "--data", data, "--baseline", baseline, *words)

    return run


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these tests run in a job themselves, its summary is not theirs."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


def test_the_baseline_holds_counts_and_no_image_and_no_path(committed: Path, data: str) -> None:
    fields = json.loads(committed.read_text())
    (found,) = fields["checks"].values()
    assert found["setting"]["data"]["n"] == N
    assert found["outcomes"]["robust"]["accuracy"]["count"] < found["outcomes"]["clean"]["accuracy"]["count"]
    assert committed.stat().st_size < 10_000
    for part in (*committed.parents[:-2], Path(data.partition(":")[2]).parent):
        assert str(part) not in committed.read_text()


def test_the_same_model_and_a_better_one_pass(check: Harden, files: dict[str, Path]) -> None:
    for name in ("kept", "better"):
        answer = check(files[name])
        assert (answer.code, answer.err) == (0, ""), answer.out
        assert "PASS: no drop" in answer.out
        assert "::error" not in answer.out


def almost_constant() -> nn.Sequential:
    """A network that answers 3 to every image, with a gradient."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    head = network[1]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.randn(10, 64, generator=torch.Generator().manual_seed(0)) / 8)
        head.bias.copy_(3.0 * (torch.arange(10) == 3))
    return network


def test_a_model_with_one_answer_is_no_pass_and_is_told_everywhere(
    harden: Harden, data: str, tmp_path: Path
) -> None:
    model, baseline = save(almost_constant(), tmp_path / "constant.onnx"), tmp_path / "b.json"
    made = harden("baseline", "update", model, "--data", data, *ATTACK, "--baseline", baseline)
    told = f"every one of the {N} images is answered 3"
    assert (made.code, made.err) == (0, "")
    assert "warning: clean accuracy " in made.out
    assert told in made.out
    files = ("--junit", tmp_path / "x.xml", "--md", tmp_path / "x.md", "--html", tmp_path / "x.html")
    answer = harden(
        *("check", model, "--data", data, "--baseline", baseline, *files, "--json", tmp_path / "x.json"),
        *("--inconclusive", "fail"),
    )
    assert (answer.code, answer.err) == (3, "")
    assert "PASS: " not in answer.out
    assert told in answer.out
    for name in ("x.xml", "x.md", "x.html", "x.json"):
        assert told in (tmp_path / name).read_text(), name


@pytest.mark.parametrize("found", ["by itself", "by --config", "not at all"])
def test_what_is_recommended_without_a_baseline_is_what_the_file_of_options_says(
    harden: Harden,
    data: str,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "harden.toml" if found == "by itself" else "gate.toml"
    table = '[baseline-update]\nattacks = "pgd"\nsteps = 5\n[check]\nmargin = "3pp"\n'
    Path(name).write_text(f'data = "{data}"\nnorm = "l2"\neps = "1/3"\n{table}')
    options = {"by itself": (), "by --config": ("--config", name), "not at all": ("--data", data)}[found]
    answer = harden("check", files["kept"], *options)
    assert (answer.code, answer.err.count("\n")) == (4, 1)
    if found == "not at all":
        assert "--norm linf --eps 8/255 " in answer.err
    else:
        assert (
            f"baseline update {files['kept']} --data {data} --norm l2 --eps 1/3 --attacks pgd --steps 5 "
            in (answer.err)
        )


def test_a_weakened_model_fails_with_junit_and_summary(
    check: Harden, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    out = {name: tmp_path / "out" / f"gate.{name}" for name in ("junit", "md", "json", "html")}
    answer = check(files["plain"], *(word for name, path in out.items() for word in (f"--{name}", path)))
    assert (answer.code, answer.err) == (1, "")
    (error,) = [line for line in answer.out.splitlines() if line.startswith("::error ")]
    assert "FAIL" in error
    suite = Xml.parse(out["junit"]).getroot()[0]
    failing = [case for case in suite if case.find("failure") is not None]
    assert suite.attrib["failures"] == str(len(failing))
    (robust,) = [case for case in failing if "robust accuracy" in case.attrib["name"]]
    assert "significant drop" in robust[1].attrib["message"]
    assert summary.read_text() == "before\n" + out["md"].read_text()
    assert "### Robustness gate: FAIL" in summary.read_text()
    assert "<h1>Robustness gate: FAIL</h1>" in out["html"].read_text()
    said = json.loads(out["json"].read_text())
    assert (said["state"], said["exit_code"]) == ("FAIL", 1)
    assert [each["state"] for each in said["comparisons"] if each["measure"] == "robust"] == ["FAIL"]


def test_other_data_is_no_comparison(
    check: Harden, files: dict[str, Path], data: str, tmp_path: Path
) -> None:
    arrays = dict(np.load(data.partition(":")[2]))
    arrays["y_test"] = (arrays["y_test"] + 1) % 10
    np.savez(tmp_path / "other.npz", **arrays)
    arrays["y_test"], arrays["x_test"] = (arrays["y_test"][::-1] - 1) % 10, arrays["x_test"][::-1]
    np.savez(tmp_path / "turned.npz", **arrays)
    for name, differs in (("other", "images or labels"), ("turned", "order of the images")):
        answer = check(files["kept"], "--junit", tmp_path / "j.xml", data=f"npz:{tmp_path / name}.npz")
        assert answer.code == 4
        assert differs in answer.err
        assert answer.err.count("\n") == 1
        suite = Xml.parse(tmp_path / "j.xml").getroot()[0]
        assert (suite.attrib["errors"], suite.attrib["tests"]) == ("1", "1")
    assert check(files["kept"], data="digits").code == 4


def test_a_missing_baseline_says_the_command_which_then_works(
    harden: Harden, files: dict[str, Path], data: str, tmp_path: Path
) -> None:
    path = tmp_path / "base line.json"
    answer = harden("check", files["kept"], "--data", data, "--baseline", path)
    assert answer.code == 4
    command = answer.err.partition("run `harden ")[2].partition("`")[0]
    assert command == (
        f"baseline update {files['kept']} --data {data} --norm linf --eps 8/255 --baseline '{path}'"
    )
    (tmp_path / "empty.json").write_text('{"schema": "urn:harden:robustness-baseline:v1", "checks": {}}')
    answer = harden("check", files["kept"], "--data", data, "--baseline", tmp_path / "empty.json")
    assert (answer.code, "without a check" in answer.err) == (4, True)


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--inconclusive", "fail"), 3)])
def test_few_images_are_inconclusive(
    harden: Harden, files: dict[str, Path], data: str, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    path = tmp_path / "baseline.json"
    small = ("--data", data, "--baseline", path)
    update = harden("baseline", "update", files["kept"], *small, *ATTACK, "--test-images", "60")
    assert update.code == 0, update.err
    answer = harden("check", files["better"], *small, *words, "--junit", tmp_path / "j.xml")
    assert answer.code == code, answer.out
    assert "INCONCLUSIVE: these images don't decide" in answer.out
    assert "images would decide" in answer.out
    suite = Xml.parse(tmp_path / "j.xml").getroot()[0]
    assert (suite.attrib["failures"] != "0") == (code == 3)
    assert (suite.attrib["skipped"] != "0") == (code == 0)


def test_a_corrupted_file_is_neither_good_nor_bad(
    check: Harden, files: dict[str, Path], tmp_path: Path
) -> None:
    content = files["kept"].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    for model in (tmp_path / "cut.onnx", tmp_path / "none.onnx", tmp_path):
        answer = check(model, "--json", tmp_path / "f.json")
        assert answer.code == 2, answer.err
        assert answer.err.count("\n") == 1
        assert json.loads((tmp_path / "f.json").read_text())["state"] == "ERROR"


def test_a_fault_of_ours_is_70_and_no_pass_in_any_file(
    check: Harden,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(attack_and_prove, "evaluate", broken)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "j.xml").write_text("<of an earlier run/>")
    answer = check(files["kept"], "--junit", tmp_path / "j.xml")
    assert answer.code == 70
    assert Xml.parse(tmp_path / "j.xml").getroot()[0].attrib["errors"] == "1"
    assert "no answer" in (tmp_path / "summary.md").read_text()
    assert "ZeroDivisionError" in next(line for line in answer.out.splitlines() if "::error" in line)
    assert "report it" in caplog.text


def test_twice_the_same_but_for_the_time(check: Harden, files: dict[str, Path], tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        check(files["better"], "--json", tmp_path / name)
        fields = json.loads((tmp_path / name).read_text())
        assert fields.pop("created")
        found.append(fields)
    assert found[0] == found[1]


def test_floors_fail_whatever_the_pairs_say(check: Harden, files: dict[str, Path]) -> None:
    answer = check(files["better"], "--floor", "99%")
    assert answer.code == 1
    assert "below the floor of 99 %" in answer.out
    assert check(files["better"], "--floor", "1%", "--clean-floor", "50%").code == 0


def test_a_floor_for_what_the_baseline_does_not_have(check: Harden, files: dict[str, Path]) -> None:
    answer = check(files["better"], "--certified-floor", "1%")
    assert (answer.code, "does not have" in answer.err) == (2, True)


def test_a_runs_folder_in_a_repository_of_its_own(
    harden: Harden, finished: Path, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed is all that a clean checkout needs, beside the model and the data."""
    monkeypatch.chdir(tmp_path)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    one, other = tmp_path / "one", tmp_path / "other"
    subprocess.run([*git, "init", "-q", one], check=True)
    path = one / "robustness-baseline.json"
    assert harden("baseline", "update", finished, "--data", npz, *ATTACK, "--baseline", path).code == 0
    subprocess.run([*git, "add", "-A"], check=True, cwd=one)
    subprocess.run([*git, "commit", "-qm", "baseline"], check=True, cwd=one)
    subprocess.run([*git, "clone", "-q", one, other], check=True)
    assert sorted(each.name for each in other.iterdir()) == [".git", path.name]
    monkeypatch.chdir(other)
    answer = harden("check", finished, "--data", npz, "--inconclusive", "fail")
    assert answer.code == 3, answer.err  # 40 images
    status = subprocess.run([*git, "status", "--porcelain"], check=True, cwd=other, capture_output=True)
    assert status.stdout == b""


def test_an_update_that_worsens_needs_a_reason(
    harden: Harden, files: dict[str, Path], data: str, committed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(committed.read_bytes())
    words = ("baseline", "update", files["plain"], "--data", data, *ATTACK, "--baseline", path)
    answer = harden(*words)
    assert (answer.code, "--accept-regression" in answer.err) == (1, True)
    assert path.read_bytes() == committed.read_bytes()
    assert harden(*words, "--accept-regression", "it has to be fast").code == 0
    shown = harden("baseline", "show", "--baseline", path)
    assert shown.code == 0
    assert "accepted: it has to be fast" in shown.out
    assert "linf 1/16 pgd" in shown.out
    compared = harden("baseline", "diff", committed, path)
    assert (compared.code, "FAIL" in compared.out) == (1, True)
    assert harden("baseline", "diff", path, committed).code == 0


def test_proofs_are_compared_too(harden: Harden, files: dict[str, Path], data: str, tmp_path: Path) -> None:
    path, few = tmp_path / "baseline.json", ("--test-images", "40")
    words = ("--data", data, "--baseline", path)
    tiny = ("--eps", "1/500", "--attacks", "pgd", "--steps", "3", "--restarts", "1", "--certify")
    assert harden("baseline", "update", files["kept"], *words, *tiny, *few).code == 0
    answer = harden("check", files["kept"], *words, "--certified-floor", "30%")
    assert answer.code == 0, answer.out
    assert "certified accuracy" in answer.out
    assert harden("check", files["kept"], *words, "--certified-floor", "100%").code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--margin", "2"), "2pp, 2% or 0.02"),
        (("--margin", "0"), "a drop in"),
        (("--alpha", "0.9"), "alpha"),
        (("--inconclusive", "ignore"), "warn or fail"),
        (("--floor", "forty"), "a share"),
    ],
)
def test_what_is_refused(check: Harden, files: dict[str, Path], words: tuple[str, ...], said: str) -> None:
    answer = check(files["kept"], *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_time_that_does_not_suffice_is_told_and_is_no_pass(
    check: Harden, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that a forward moves by one second an image, and nothing else."""
    now = [0.0]
    count = pass_count.count

    def slow(images: int) -> None:
        now[0] += images
        count(images)

    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0])
    for module in ("evaluation.time_limit", "evaluation.batch_evaluation", "cli.options.command_clock"):
        monkeypatch.setattr(f"harden.{module}.time", clock)
    monkeypatch.setattr("harden.models.classifier.count", slow)
    out = tmp_path / "f.json"
    answer = check(files["kept"], "--json", out, "--minutes", "100")
    assert now[0] <= 1.1 * 6000
    said = json.loads(out.read_text())
    assert answer.code == 0, answer.err
    assert said["state"] == "INCONCLUSIVE"
    for each in said["comparisons"]:
        assert 0 < each["n"] < N
        assert each["n"] + each["left"] == N
        assert any("time was up" in note for note in each["notes"])
    assert check(files["kept"], "--minutes", "100", "--inconclusive", "fail").code == 3
    # What is worse on the first images is worse: a FAIL needs no more of them.
    answer = check(files["plain"], "--minutes", "300")
    assert answer.code == 1, answer.out
    answer = check(files["kept"], "--minutes", "0.01")
    assert answer.code == 2
    assert "minutes" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("--minutes", "0"), "expected a positive number"),
        (("--minutes", "nan"), "expected a positive number"),
        (("--minutes", "1", "--bench", "{kept}"), "--minutes with --bench"),
    ],
)
def test_minutes_that_can_not_be(
    check: Harden, files: dict[str, Path], words: tuple[str, ...], seen: str
) -> None:
    answer = check(files["kept"], *(word.format(kept=files["kept"]) for word in words))
    assert answer.code == 2
    assert seen in answer.err
    assert answer.err.count("\n") == 1
