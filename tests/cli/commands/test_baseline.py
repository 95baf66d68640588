"""`harden baseline` on checks that are written down: what is kept, what is printed, and what is refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from harden.cli.commands.baseline import diff, show, update
from harden.deployed.evidence_level import FileAccess
from harden.errors import BaselineError, RegressionError
from harden.evaluation import TrustCheck
from harden.regression.baseline import read
from harden.regression.baseline import update as put
from harden.regression.baseline_records import Check, described
from harden.regression.measure import USUAL_BATCH, CheckSpec
from harden.regression.verdict import Rule
from harden.statistics import Proportion
from tests.regression.baseline_check import N, check, setting

SPEC = CheckSpec("linf", "8/255", "quick")
NAME = "linf 8/255 quick"
FIRED = TrustCheck("zero gradients", 0.75, 0.5, "a share", "mend it")


class Measurer:
    """In place of a FileMeasurer: has measured a check, with or without distrust."""

    def __init__(self, found: Check, distrust: tuple[str, ...] = ()) -> None:
        self.found, self.distrust, self.caution = found, distrust, ""
        self.path, self.access, self.batch_size = Path("model.onnx"), FileAccess(), USUAL_BATCH
        self.checks = (FIRED,) if distrust else ()
        self.measured: list[CheckSpec] = []

    def measure(self, spec: CheckSpec, on_batch: Any, minutes: float | None) -> Any:
        self.measured.append(spec)
        return self.found, self.distrust


def kept(
    measurer: Any,
    path: Path,
    reason: str | None = None,
    spec: CheckSpec = SPEC,
    json_file: Path | None = None,
) -> int:
    return update(measurer, "npz:few.npz", spec, path, reason, json_file)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "robustness-baseline.json"


# update


def test_what_was_measured_is_kept_and_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(robust=150, clean=280)
    assert kept(Measurer(found), path, json_file=path.with_name("a.json")) == 0
    assert read(path, "").checks == {NAME: found}
    said = " ".join(capsys.readouterr().out.split())
    accuracies = f"clean {Proportion(280, N)}, robust {Proportion(150, N)}"
    assert f"{NAME}: {accuracies}; commit {path}" in said
    answer = json.loads(path.with_name("a.json").read_text())
    assert answer == {"status": "ok", **described(found)}


def test_a_step_down_needs_a_reason_which_is_kept(path: Path) -> None:
    kept(Measurer(check(robust=150)), path)
    before = path.read_bytes()
    with pytest.raises(RegressionError, match="robust accuracy 100 of 300 after 150"):
        kept(Measurer(check(robust=100)), path)
    assert path.read_bytes() == before
    assert kept(Measurer(check(robust=100)), path, "a smaller network") == 0
    (step,) = read(path, "").checks[NAME].accepted
    assert step.reason == "a smaller network"


def test_a_damaged_file_is_an_error_before_anything_is_measured(path: Path) -> None:
    path.write_text("{")
    measurer = Measurer(check())
    with pytest.raises(BaselineError):
        kept(measurer, path)
    assert measurer.measured == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_number_that_is_not_trusted_is_not_kept(
    path: Path, exists: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if exists:
        put(path, check())
    before = path.read_bytes() if exists else b""
    doubtful = Measurer(check(robust=200), ("gradients vanish", "and so on"))
    spec = CheckSpec("linf", "8/255", "pgd", 5, 1, certify=True, label="mine")
    assert kept(doubtful, path, "it is so", spec, path.with_name("a.json")) == 1
    assert (path.read_bytes() if path.exists() else b"") == before
    said = capsys.readouterr().out
    assert "unreliable: gradients vanish" in said
    assert "unreliable: and so on" in said
    assert f"{path} is as it was" in " ".join(said.split())
    answer = json.loads(path.with_name("a.json").read_text())
    assert (answer["status"], answer["reasons"]) == ("unreliable", ["gradients vanish", "and so on"])
    words = shlex.split(answer["next"])
    assert words[:4] == ["harden", "baseline", "update", "model.onnx"]
    for option, value in (
        ("--data", "npz:few.npz"),
        ("--baseline", str(path)),
        ("--label", "mine"),
        ("--accept-regression", "it is so"),
    ):
        assert words[words.index(option) + 1] == value
    assert "--certify" in words


def test_the_next_command_has_no_option_that_was_not_given(path: Path) -> None:
    kept(Measurer(check(), ("gradients vanish",)), path, json_file=path.with_name("a.json"))
    words = shlex.split(json.loads(path.with_name("a.json").read_text())["next"])
    assert not {"--certify", "--label", "--accept-regression"} & set(words)


# show


def test_each_check_is_shown_with_what_was_accepted(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(path, check(robust=150))
    put(path, check(robust=100), "a smaller network")
    put(path, check(robust=200, setting=setting("4/255", seed=7)))
    assert show(path) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    first, second = f"{NAME}: ", "linf 4/255 quick: "
    assert lines[0].startswith(second)
    assert "seed 7, graph " + "e" * 12 + ", images " + "a" * 12 in " ".join(lines[:2])
    assert any(line.startswith(first) for line in lines)
    assert lines[-1] == "accepted: a smaller network"
    assert "e" * 13 not in " ".join(lines)


def test_a_missing_baseline_says_where_one_comes_from(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="name a file that `harden baseline update` wrote"):
        show(tmp_path / "x.json")
    with pytest.raises(BaselineError, match="name a file that `harden baseline update` wrote"):
        diff(tmp_path / "x.json", tmp_path / "y.json", Rule())


# diff


def two(tmp_path: Path, old: Check, new: Check) -> tuple[Path, Path]:
    paths = tmp_path / "old.json", tmp_path / "new.json"
    for path, each in zip(paths, (old, new), strict=True):
        put(path, each)
    return paths


@pytest.mark.parametrize(("robust", "code", "answer"), [(150, 0, "PASS"), (100, 1, "FAIL")])
def test_two_baselines_are_compared_as_a_check_would(
    tmp_path: Path, robust: int, code: int, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = two(tmp_path, check(robust=150), check(robust=robust))
    assert diff(old, new, Rule()) == code
    assert answer in capsys.readouterr().out


def test_the_later_one_is_the_second(tmp_path: Path) -> None:
    old, new = two(tmp_path, check(robust=100), check(robust=150))
    assert diff(old, new, Rule()) == 0
    assert diff(new, old, Rule()) == 1


def test_the_rule_decides(tmp_path: Path) -> None:
    old, new = two(tmp_path, check(robust=150), check(robust=150))
    assert diff(old, new, Rule(floor=(("robust", 0.75),))) == 1
    assert diff(old, new, Rule(floor=(("robust", 0.25),))) == 0


def test_checks_of_one_file_alone_and_of_other_settings_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = two(tmp_path, check(), check())
    put(old, check(setting=setting("1/255")))
    put(new, check(setting=setting("2/255")))
    put(old, check(setting=setting("4/255", seed=1)))
    put(new, check(setting=setting("4/255", seed=2)))
    assert diff(old, new, Rule()) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"linf 1/255 quick: only in {old}" in said
    assert f"linf 2/255 quick: only in {new}" in said
    assert "linf 4/255 quick: not comparable: other " in said
    assert "seed" in said


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    old, new = two(tmp_path, check(setting=setting("1/255")), check(setting=setting("2/255")))
    with pytest.raises(BaselineError) as caught:
        diff(old, new, Rule())
    assert caught.value.seen == f"{old} and {new}"
    assert caught.value.expected == "a check that both have"
    assert caught.value.instead == "compare baselines of one model"
