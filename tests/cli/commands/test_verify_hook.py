"""The hook of pre-commit and the action: what they name exists, and what they run answers."""

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
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from harden.cli.app import app
from harden.cli.commands.verify_hook import main as hook
from harden.cli.gate_app import DEFAULT

Harden = Callable[..., Any]
ROOT = Path(__file__).parents[3]


def loaded(name: str) -> Any:
    return pytest.importorskip("yaml").safe_load((ROOT / name).read_text())


@pytest.fixture
def artefacts(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two committed models, of which one is changed after its certificate was written, and one without."""
    for name in ("good", "bad"):
        shutil.copytree(finished, tmp_path / "models" / name)
    path = tmp_path / "models" / "bad" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (tmp_path / "models" / "other").mkdir()
    (tmp_path / "models" / "other" / "model.onnx").write_bytes(b"of somebody else's")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def test_each_folder_is_verified_once_and_the_worst_counts(
    artefacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = ["models/good/certificate.json", "models/good/model.onnx", "models/good/evidence.npz"]
    assert hook(good) == 0
    said = capsys.readouterr().out
    assert said.startswith("models/good:\n")
    assert said.count("verified: ") == 1
    assert hook([*good, "models/bad/model.onnx"]) == 1
    said = capsys.readouterr().out
    assert said.index("models/bad:") < said.index("broken: model.onnx") < said.index("models/good:")


def test_what_belongs_to_no_artefact_is_passed_over(artefacts: Path) -> None:
    assert hook([]) == 0
    assert hook(["models/other/model.onnx", "models/gone/model.onnx"]) == 0


def test_a_claim_that_is_broken_counts_more_than_a_file_that_cannot_be_read(
    artefacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (artefacts / "other" / "certificate.json").write_text("{}")
    alone = hook(["models/other/certificate.json"])
    assert alone in (1, 2)
    assert hook(["models/other/certificate.json", "models/bad/certificate.json"]) == 1


def test_an_artefact_in_the_working_folder(
    artefacts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artefacts / "good")
    assert hook(["certificate.json"]) == 0
    assert "verified: " in capsys.readouterr().out


def test_it_loads_neither_torch_nor_the_command_line_library(artefacts: Path) -> None:
    code = (
        "import json, sys\nfrom harden.cli.commands.verify_hook import main\ncode = main(sys.argv[1:])\n"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "models/good/model.onnx"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    answer, modules = json.loads(done.stdout.splitlines()[-1])
    assert answer == 0
    # pydantic and jinja2 draw the page, which is compared.
    assert not {"torch", "scipy", "typer", "rich"} & set(modules)


def test_the_hook_names_a_script_and_the_files_of_an_artefact() -> None:
    (found,) = loaded(".pre-commit-hooks.yaml")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[found["entry"]] == "harden.cli.commands.verify_hook:main"
    for name in ("certificate.json", "models/a/model.onnx", "a/evidence.npz", "models/a/report.html"):
        assert re.search(found["files"], name)
    for name in ("my-report.html", "my-certificate.json", "data/test.npz"):
        assert not re.search(found["files"], name)


def test_the_action_runs_a_command_that_exists_with_every_input(tmp_path: Path) -> None:
    action = loaded("action.yml")
    (step,) = [each for each in action["runs"]["steps"] if "harden check" in each.get("run", "")]
    used = {name: re.findall(r"inputs\.(\w+)", text) for name, text in step["env"].items()}
    assert {name.upper(): [name] for name in action["inputs"]} == used
    assert all(each["shell"] == "bash" for each in action["runs"]["steps"] if "run" in each)
    # Run by a real shell, with a `harden` that says what it was given: nothing in an input is executed.
    (tmp_path / "harden").write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    (tmp_path / "harden").chmod(0o755)
    given = {"MODEL": "a model.onnx", "DATA": "npz:$(touch hit).npz", "BASELINE": "b.json", "MARGIN": "2pp"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=tmp_path,
        env={**given, "ARGS": "--inconclusive fail", "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words[:4] == ["check", "a model.onnx", "--data", given["DATA"]]
    assert words[-2:] == ["--inconclusive", "fail"]
    assert not (tmp_path / "hit").exists()
    group: Any = get_command(app)
    known = {option for each in group.commands["check"].params for option in each.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_actions_defaults_are_those_of_the_command() -> None:
    inputs = loaded("action.yml")["inputs"]
    group: Any = get_command(app)
    defaults = {each.name: each.default for each in group.commands["check"].params}
    assert inputs["margin"]["default"] == defaults["margin"]
    assert inputs["baseline"]["default"] == str(DEFAULT)
    assert inputs["model"]["required"] is inputs["data"]["required"] is True


def test_the_action_installs_the_checkout_that_it_is_part_of() -> None:
    (install,) = [
        each["run"] for each in loaded("action.yml")["runs"]["steps"] if "pip install" in each.get("run", "")
    ]
    assert shlex.split(install.splitlines()[-1])[-1] == "$GITHUB_ACTION_PATH"


def test_the_action_installs_versions_with_hashes_and_all_that_harden_needs() -> None:
    (install,) = [
        each["run"] for each in loaded("action.yml")["runs"]["steps"] if "pip install" in each.get("run", "")
    ]
    assert all("--no-deps" in line and "pip install" in line for line in install.splitlines())
    known = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    known = {name.lower().replace("_", "-"): version for name, version in known.items()}
    lines = (ROOT / "action-requirements.txt").read_text().splitlines()
    pinned = {}
    for line in lines:
        if not line.startswith("#"):
            found = re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line)
            assert found, line
            pinned[found[1]] = found[2]
    assert {name: known[name] for name in pinned if name in known} == {
        name: version for name, version in pinned.items() if name in known
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for name in (re.split(r"[<>=]", one)[0].lower() for one in wanted):
        assert name in pinned or f"{name}=={known[name]}" in install, name
