"""harden evaluate: suites, several eps, journals, minutes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harden.certificate.certificate_file import read
from harden.evaluation.results.evaluation_report import EvaluationReport
from harden.models import pass_count

Harden = Callable[..., Any]
CLOSING = ["one-step", "noise", "twice-the-steps"]


def said(path: Path) -> dict[str, Any]:
    EvaluationReport.model_validate_json(path.read_text())  # the schema holds
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "names"),
    [
        ("quick", ["apgd-ce", "apgd-t"]),
        (
            "standard",
            ["apgd-ce", "apgd-t", "apgd-margin", "fab-t", "square", "part-inside", "student", "labels"],
        ),
    ],
)
def test_a_suite_attacks_the_file(
    harden: Harden, finished: Path, npz: str, tmp_path: Path, suite: str, names: list[str]
) -> None:
    out = tmp_path / "found.json"
    words = ("--norm", "linf", "--eps", "1/10", "--attacks", suite, "--test-images", "20", "--json", out)
    answer = harden("evaluate", finished, "--data", npz, *words)
    assert answer.code in (0, 1), answer.err
    found = said(out)
    assert set(found["per_attack"]) == {*names, *CLOSING}  # files are written with sorted keys
    assert "onnxruntime" in found["decided_by"]
    each = found["per_example"]
    counts = {name: each["broken_by"].count(name) for name in found["per_attack"]}
    assert counts == {name: record["broken"] for name, record in found["per_attack"].items()}
    assert sum(counts.values()) > 0
    for name in names:
        assert f"and under {name}" in answer.out


def test_several_eps_are_a_table_and_a_curve(
    harden: Harden, finished: Path, npz: str, tmp_path: Path
) -> None:
    out = tmp_path / "found.json"
    words = ("--eps", "1/50,1/20, 1/10", "--steps", "20", "--restarts", "1", "--json", out)
    answer = harden("evaluate", finished, "--data", npz, *words)
    assert answer.err == ""
    found = said(out)
    assert [point["eps"] for point in found["curve"]] == ["1/50", "1/20", "1/10"]
    assert found["threat"]["eps"] == "1/10"
    for point in found["curve"]:
        assert point["eps"] in answer.out
    if found["status"] == "ok":
        counts = [found["clean"]["count"], *(point["robust"]["count"] for point in found["curve"])]
        assert counts == sorted(counts, reverse=True)


def test_a_journal_is_gone_on_with(harden: Harden, finished: Path, npz: str, tmp_path: Path) -> None:
    base = ("evaluate", finished, "--data", npz, "--eps", "1/10", "--steps", "5", "--restarts", "1")
    words = (*base, "--batch-size", "16", "--journal", tmp_path / "state")
    first = harden(*words, "--json", tmp_path / "first.json")
    (tmp_path / "state" / "batch-000001.safetensors").unlink()
    second = harden(*words, "--json", tmp_path / "second.json")
    assert (first.code, first.err) == (second.code, second.err)
    one, other = said(tmp_path / "first.json"), said(tmp_path / "second.json")
    assert one["per_example"] == other["per_example"]
    assert one["checks"] == other["checks"]
    refused = harden(*words, "--seed", "5")
    assert refused.code == 2
    assert "seed" in refused.err
    assert "Traceback" not in refused.err


def test_too_few_minutes_are_told(harden: Harden, finished: Path, npz: str) -> None:
    answer = harden("evaluate", finished, "--data", npz, "--minutes", "0.0000001")
    assert answer.code == 2
    assert "minutes" in answer.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--attacks", "autoattack"), "standard, thorough, quick, pgd or module:function"),
        (("--attacks", "standard", "--steps", "7"), "leave them out"),
        (("--eps", "1/10,1/20"), "rising eps"),
        (("--eps", "1/20,1/10", "--minutes", "5"), "one eps"),
        (("--eps", "1/20,,1/10"), "eps"),
        (("--minutes", "-1"), "positive"),
        (("--journal", "notes.txt"), "no journal"),
    ],
)
def test_what_is_refused(
    harden: Harden,
    finished: Path,
    npz: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    answer = harden("evaluate", finished, "--data", npz, *words)
    assert answer.code == 2
    assert expected in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_run_and_export_take_one_eps_and_a_suite(
    harden: Harden, finished: Path, npz: str, tmp_path: Path
) -> None:
    words = ("--eps", "1/10", "--attacks", "quick", "--test-images", "20")
    answer = harden("export", finished, "--data", npz, "--out", tmp_path / "out", *words)
    assert answer.code in (0, 1), answer.err
    names = [record.name for record in read(tmp_path / "out").predicate.attacks]
    assert names[:2] == ["apgd-ce", "apgd-t"]
    assert harden("verify", tmp_path / "out").code == 0
    refused = harden("export", finished, "--data", npz, "--out", tmp_path / "two", "--eps", "1/20,1/10")
    assert (refused.code, "one eps" in refused.err) == (2, True)
    assert not (tmp_path / "two").exists()


def test_what_else_is_asked_for_keeps_to_the_time_too(
    harden: Harden, finished: Path, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that a forward moves by a second an image: there is time for attacks, not for the rest."""
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
    more = ("--minutes", "20", "--corruptions", "--calibration", "--json", out)
    words = ("--data", npz, "--steps", "3", "--restarts", "1", *more)
    answer = harden("evaluate", finished, *words)
    assert answer.code in (0, 1), answer.err
    assert now[0] <= 1.1 * 1200
    said = json.loads(out.read_text())
    assert said["left"] > 0
    assert said["n"] + said["left"] == 40
    assert "all numbers are of the first" in answer.out
    assert "time was up: the other measures that were requested were not made" in answer.out
    assert said["corruptions"] is None
