"""harden init: what it writes works as it is, and it replaces nothing unasked."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier
from harden.system.package_metadata import VERSION
from tests.fitted import fitted

Harden = Callable[..., Any]
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "ci"
WRITTEN = [
    ".github/workflows/robustness.yml",
    ".gitlab-ci.yml",
    "harden.toml",
    "tests/test_robustness.py",
]


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def jobs(path: Path) -> Any:
    return pytest.importorskip("yaml").safe_load(path.read_text())


def scripts(folder: Path) -> list[str]:
    """The lines that both jobs run."""
    github = jobs(folder / WRITTEN[0])["jobs"]["robustness"]["steps"]
    gitlab = jobs(folder / WRITTEN[1])["robustness"]["script"]
    one = [step["run"].strip() for step in github if "run" in step]
    assert one == [line.strip() for line in gitlab]
    return one


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of digits as an ONNX file, and 300 images."""
    digits, folder = load("digits"), tmp_path_factory.mktemp("material")
    onnx.save(trace(Classifier(fitted(digits, 60)), (1, 8, 8)), folder / "model.onnx")
    x, y = digits.test.x[:300].permute(0, 2, 3, 1).numpy(), digits.test.y[:300].numpy()
    np.savez(folder / "test.npz", x_train=x[:20], y_train=y[:20], x_test=x, y_test=y)
    return folder


@pytest.fixture
def repository(material: Path, harden: Harden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository after `harden init`."""
    for name in ("model.onnx", "test.npz"):
        shutil.copy(material / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    answer = harden("init", "--eps", "1/16")
    assert (answer.code, answer.err) == (0, "")
    return tmp_path


def session(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest in the repository, with the plugin of this checkout."""
    known = any(point.value == "harden.pytest_plugin" for point in metadata.entry_points(group="pytest11"))
    plugin = () if known else ("-p", "harden.pytest_plugin")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_the_test_fails_with_a_command_after_which_it_passes(repository: Path) -> None:
    first = session(repository)
    assert first.returncode == 1, first.stdout + first.stderr
    command = first.stdout.partition("run `pytest ")[2].partition("`")[0]
    assert command == ("tests/test_robustness.py::test_robustness_has_not_regressed --harden-update-baseline")
    made = session(repository, *shlex.split(command))
    assert made.returncode == 0, made.stdout + made.stderr
    again = session(repository)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "PASS: no drop" in again.stdout


@pytest.mark.slow
def test_the_command_that_is_told_makes_a_baseline_for_job_and_test(harden: Harden, repository: Path) -> None:
    told = harden("init", "--eps", "1/16", "--force").out
    (update,) = re.findall(r"^  harden (baseline update .*)$", told, re.MULTILINE)
    made = harden(*shlex.split(update))
    assert (made.code, made.err) == (0, "")
    assert list(json.loads((repository / "robustness-baseline.json").read_text())["checks"]) == [
        "linf 1/16 quick"
    ]
    check = scripts(repository)[-1]
    answer = harden(*shlex.split(check)[1:])
    assert (answer.code, answer.err) == (0, ""), answer.out
    assert files_of(repository / "robustness-report") == ["junit.xml", "page.html"]
    tested = session(repository)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    committed = re.findall(r"^  git add (.*)$", told, re.MULTILINE)[0].split()
    assert all((repository / name).is_file() for name in committed)


def test_nothing_is_left_to_fill_in(harden: Harden, tmp_path: Path) -> None:
    words = ("--model", "nets/the model.onnx", "--data", "npz:data/été 1.npz", "--norm", "l2", "--eps", "0.5")
    answer = harden("init", tmp_path, *words, "--install", "harden>=0.1,<1")
    assert (answer.code, answer.err) == (0, "")
    assert files_of(tmp_path) == WRITTEN
    for name in WRITTEN:
        assert "<<" not in (tmp_path / name).read_text()
    assert tomllib.loads((tmp_path / "harden.toml").read_text())["data"] == words[3]
    code = (tmp_path / "tests/test_robustness.py").read_text()
    compile(code, "test_robustness.py", "exec")
    assert 'harden.L2("1/2")' in code
    assert '"nets/the model.onnx", "npz:data/été 1.npz"' in code
    install, check = scripts(tmp_path)[-2:]
    assert shlex.split(install) == ["pip", "install", "harden>=0.1,<1"]
    assert shlex.split(check)[:5] == ["harden", "check", "nets/the model.onnx", "--config", "harden.toml"]
    assert "not there yet: nets/the model.onnx, data/été 1.npz" in answer.out


def test_nothing_is_replaced_unasked_and_then_nothing_is_written(harden: Harden, tmp_path: Path) -> None:
    (tmp_path / "harden.toml").write_text("eps = '1/2'\n")
    answer = harden("init", tmp_path)
    assert answer.code == 2
    assert answer.err.startswith(f"harden: {tmp_path / 'harden.toml'}: already there; expected ")
    assert answer.err.count("\n") == 1
    assert files_of(tmp_path) == ["harden.toml"]
    assert harden("init", tmp_path, "--force").code == 0
    assert files_of(tmp_path) == WRITTEN
    assert "1/2" not in (tmp_path / "harden.toml").read_text()
    answer = harden("init", tmp_path)
    assert answer.code == 2
    assert all(str(tmp_path / name) in answer.err for name in WRITTEN)


def test_a_pipeline_that_is_there_stays(harden: Harden, tmp_path: Path) -> None:
    pipeline = tmp_path / ".gitlab-ci.yml"
    pipeline.write_text("test:\n  script: [make]\n")
    for words in ((), ("--force",)):
        answer = harden("init", tmp_path, *words)
        assert (answer.code, answer.err) == (0, "")
        assert "  - local: robustness.gitlab-ci.yml" in answer.out
        assert pipeline.read_text() == "test:\n  script: [make]\n"
    assert files_of(tmp_path) == sorted([*WRITTEN, "robustness.gitlab-ci.yml"])
    assert list(jobs(tmp_path / "robustness.gitlab-ci.yml")) == ["robustness"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--norm", "linff"), "linf, l2 or l1"),
        (("--eps", "8"), "did you mean 8/255?"),
        (("--model", 'a"b.onnx'), "without quotes"),
        (("--model", "a\nb.onnx"), "without quotes"),
        (("--data", "npz:${{ github.token }}"), "without quotes"),
        (("--install", "harden`id`"), "without quotes"),
        (("--model=-x.onnx",), "without quotes"),
    ],
)
def test_what_is_refused(harden: Harden, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    answer = harden("init", tmp_path, *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert files_of(tmp_path) == []


def test_places_that_cannot_be_written(harden: Harden, tmp_path: Path) -> None:
    assert harden("init", tmp_path / "none").code == 2
    (tmp_path / "tests").write_text("a file")
    for words in ((), ("--force",)):
        answer = harden("init", tmp_path, *words)
        assert (answer.code, "can't be written" in answer.err) == (2, True), answer.err
        assert files_of(tmp_path) == ["tests"]
    (tmp_path / "tests").unlink()
    (tmp_path / "harden.toml").mkdir()
    answer = harden("init", tmp_path, "--force")
    assert (answer.code, files_of(tmp_path)) == (2, [])


class Installed:
    """What importlib.metadata knows of an installed package."""

    def __init__(self, note: str | None) -> None:
        self._note = note

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self._note


GIT = '{"url": "https://example.org/harden", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'


@pytest.mark.parametrize(
    ("note", "data", "install", "doubt"),
    [
        (None, "npz:x.npz", f"harden-vision=={VERSION}", False),
        (None, "digits", f"harden-vision[demo]=={VERSION}", False),
        (GIT, "npz:x.npz", "harden-vision @ git+https://example.org/harden@abc", False),
        ('{"url": "file:///somewhere", "dir_info": {}}', "npz:x.npz", f"harden-vision=={VERSION}", True),
    ],
)
def test_the_jobs_install_the_harden_that_wrote_them(
    harden: Harden,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    note: str | None,
    data: str,
    install: str,
    doubt: bool,
) -> None:
    monkeypatch.setattr("harden.system.package_metadata.installed", lambda: Installed(note))
    answer = harden("init", tmp_path, "--data", data)
    assert (answer.code, answer.err) == (0, "")
    assert shlex.split(scripts(tmp_path)[1]) == ["pip", "install", install]
    assert ("or write --install" in answer.out) == doubt


def test_the_example_is_what_it_writes(harden: Harden, tmp_path: Path) -> None:
    (words,) = re.findall(r"^harden (init .*)$", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
    assert harden(*shlex.split(words), tmp_path).code == 0
    assert files_of(tmp_path) == WRITTEN
    assert sorted([*WRITTEN, "README.md"]) == [
        name for name in files_of(EXAMPLE) if "__pycache__" not in name
    ]
    for name in WRITTEN:
        assert (tmp_path / name).read_text() == (EXAMPLE / name).read_text(), name
