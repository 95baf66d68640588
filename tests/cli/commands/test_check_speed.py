"""harden check --bench, end to end; where an answer is expected, the works are on a clock of our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import onnx
import pytest

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier
from harden.regression.timing import measure_speed
from tests.fitted import fitted

Harden = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "model.onnx"
    onnx.save(trace(Classifier(fitted(load("digits"), 20)), (1, 8, 8)), path)
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets works of named files take so many seconds, by a clock that nothing else moves."""

    def install(**seconds: float) -> None:
        now = [0.0]

        def works(bare: Any, *_: object) -> Any:
            def work() -> None:
                now[0] += seconds[bare.path.stem]

            return ("inference", work), ("attack", work)

        timed = measure_speed.timed
        monkeypatch.setattr(measure_speed, "works", works)
        monkeypatch.setattr(
            "harden.cli.commands.check.timed",
            lambda bare, splits, bench, way, on_phase: timed(
                bare, splits, bench, clock=lambda: now[0], way=way, on_phase=on_phase
            ),
        )

    return install


@pytest.fixture
def bench(harden: Harden, model: Path, tmp_path: Path) -> Harden:
    (tmp_path / "base.onnx").write_bytes(model.read_bytes())

    def run(*words: object) -> Any:
        return harden("check", model, "--bench", tmp_path / "base.onnx", "--data", "digits", *words)

    return run


@pytest.mark.parametrize(
    ("seconds", "state", "code", "strict"),
    [(1.0, "PASS", 0, 0), (1.5, "FAIL", 1, 1), (1.125, "INCONCLUSIVE", 0, 3)],
)
def test_one_verdict_in_every_form(
    bench: Harden, clock: Any, tmp_path: Path, seconds: float, state: str, code: int, strict: int
) -> None:
    clock(base=1.0, model=seconds)
    words = ("--bench-margin", "12.5%", "--bench-rounds", "7")
    out = {name: tmp_path / f"gate.{name}" for name in ("json", "junit", "md", "html")}
    answer = bench(*words, *(word for name, path in out.items() for word in (f"--{name}", path)))
    assert (answer.code, answer.err) == (code, "")
    assert f"{state}: " in answer.out
    assert "accuracies were not compared" in answer.out
    said = json.loads(out["json"].read_text())
    assert (said["state"], said["exit_code"], said["comparisons"]) == (state, code, [])
    assert [each["measure"] for each in said["speed"]] == ["inference", "attack"]
    for each in said["speed"]:
        assert (each["state"], each["rounds"], each["margin"], each["images"]) == (state, 7, 0.125, 32)
        assert each["interval"] == [seconds, seconds]
        assert each["seconds_now"] == [2 * seconds] * 7
        assert each["seconds_before"] == [2.0] * 7
    suite = Xml.parse(out["junit"]).getroot()[0]
    assert (suite.attrib["tests"], suite.attrib["failures"] != "0") == ("2", code == 1)
    for name in ("md", "html"):
        assert f"Robustness gate: {state}" in out[name].read_text()
        assert "speed: inference time" in out[name].read_text()
    assert bench(*words, "--inconclusive", "fail").code == strict


def test_speed_beside_accuracy(
    harden: Harden, bench: Harden, clock: Any, model: Path, tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline.json"
    few = ("--attacks", "pgd", "--steps", "2", "--restarts", "1")
    assert harden("baseline", "update", model, "--data", "digits", *few, "--baseline", baseline).code == 0
    clock(base=1.0, model=2.0)
    answer = bench("--baseline", baseline, "--json", tmp_path / "f.json")
    assert answer.code == 1, answer.out
    assert "no drop of the margin or more" in answer.out
    assert "slower by more than the margin" in answer.out
    said = json.loads((tmp_path / "f.json").read_text())
    assert {each["state"] for each in said["comparisons"]} == {"PASS"}
    assert {each["state"] for each in said["speed"]} == {"FAIL"}


def test_real_files_are_timed(bench: Harden, tmp_path: Path) -> None:
    """No word on the answer: the machine may do what it likes."""
    words = ("--bench-rounds", "6", "--bench-images", "4", "--bench-margin", "900%")
    answer = bench(*words, "--json", tmp_path / "f.json")
    assert (answer.code in (0, 1), answer.err) == (True, "")
    for each in json.loads((tmp_path / "f.json").read_text())["speed"]:
        assert each["images"] == 4
        assert min(each["seconds_before"] + each["seconds_now"]) > 0
        assert each["interval"][0] <= each["ratio"] <= each["interval"][1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("times.json", "times of another machine or moment say nothing about this one"),
        ("missing.onnx", "where no ONNX file is"),
        ("other.onnx", "does not load"),
    ],
)
def test_what_is_no_base(harden: Harden, model: Path, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "times.json").write_text('{"benchmarks": []}')
    (tmp_path / "other.onnx").write_text("no graph")
    words = ("check", model, "--data", "digits", "--bench", tmp_path / name, "--json", tmp_path / "f.json")
    answer = harden(*words)
    assert (answer.code, said in answer.err, answer.err.count("\n")) == (2, True, 1), answer.err
    assert json.loads((tmp_path / "f.json").read_text())["state"] == "ERROR"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bench-margin", "fast"), "such as 10% or 0.1"),
        (("--bench-margin", "0"), "such as 10% or 0.1"),
        (("--bench-rounds", "5"), "write --bench-rounds 6"),
        (("--bench-rounds", "-1"), "write --bench-rounds 6"),
        (("--bench-images", "0"), "at least one"),
        (("--floor", "40%"), "name it with --baseline"),
        (("--label", "a"), "name it with --baseline"),
    ],
)
def test_what_is_refused(bench: Harden, words: tuple[str, ...], said: str) -> None:
    answer = bench(*words)
    assert (answer.code, said in answer.err, answer.err.count("\n")) == (2, True, 1), answer.err
