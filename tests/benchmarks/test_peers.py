"""The comparison with other libraries runs at toy size and writes what is read from it; no time is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import peers
from benchmarks.peering import memory, networks
from benchmarks.peering.contenders import NAMES, Setting, limit
from benchmarks.peering.speed import counted
from benchmarks.peering.strength import TRAINED_FOR
from benchmarks.peering.timing import interleaved, spread
from benchmarks.peering.trained import Place, data_named, trained

ROOT = Path(__file__).parents[2]
OURS = {"harden", "harden_fp32"}


def run(*words: str) -> str:
    """A command in a process of its own; what it printed."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    ran = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_comparison_is_a_module_too() -> None:
    assert "--rounds" in run("-m", "benchmarks.peers", "--help")


def test_the_comparison_writes_what_is_read_from_it(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ["--net", "small", "--threads", "1", "--toy", "--json", str(out)]
    printed = run("benchmarks/peers.py", *words)
    found = json.loads(out.read_text())
    ratios, absent = found["ratio_to_limit"], found["absent"]
    assert set(ratios) | set(absent) == OURS | set(NAMES)
    assert not set(ratios) & set(absent)
    assert "harden_fp32" in ratios
    assert "autoattack_apgd" in absent  # without a checkout
    assert all(ratio > 0 for ratio in ratios.values())
    assert all(f"left out: {name}: {reason}" in printed for name, reason in absent.items())
    assert found["parameters"] == 117_520
    assert (found["n"], found["threads"]) == ({"rounds": 1, "steps": 2, "batch": 4}, 1)
    assert set(found["seconds"]) >= {"limit", *ratios}
    assert found["versions"]["torch"] == torch.__version__
    assert {"cpu", "cores", "amx_bf16", "avx512_bf16", "load"} <= set(found["machine"])
    assert found["date"]
    assert found["commit"]
    for reached in found["reached"].values():
        assert reached["largest_change"] <= 8 / 255 + 1e-6


def test_the_other_rows_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, cache = tmp_path / "out.json", tmp_path / "weights"
    words = ["--toy", "--rows", "apgd", "weak", "strength", "--cache", str(cache), "--json", str(out)]
    assert peers.main(words) == 0
    found = json.loads(out.read_text())
    assert "left out" in capsys.readouterr().out
    for name in ("weak", "half"):
        assert 0 <= found["weak"][name]["robust"]["harden_fp32"] <= 1
    cases = {(case["training"], case["norm"]) for case in found["strength"]["cases"]}
    assert {("plain", "linf"), ("robust", "linf"), ("plain", "l2"), ("robust", "l2")} <= cases
    for case in found["strength"]["cases"]:
        robust = case["robust"]
        assert robust["plain"] <= robust["plain_last"]
        assert case["difference"]["harden_fp32"] == pytest.approx(
            100 * (robust["harden_fp32"] - robust["plain"]), abs=0.01
        )
    kept = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(kept) == 4  # plain and robust, at both sizes
    with Place(cache, "7E", 8, 64) as place:
        trained(data_named("digits", as_cifar=False), "plain", TRAINED_FOR, place)
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == kept


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    numbers = memory.in_a_process("small", Setting(steps=2, batch=4), "harden_fp32", toy=True)
    assert numbers["peak_mib"] >= numbers["before_mib"] > 0
    assert numbers["weights_mib"] == pytest.approx(117_520 * 4 / 2**20, abs=0.1)


def test_the_networks_are_those_that_are_named() -> None:
    small, resnet = networks.small(), networks.resnet18()
    assert sum(weight.numel() for weight in small.parameters()) == 117_520
    assert sum(weight.numel() for weight in resnet.parameters()) == 11_173_962
    assert small(torch.zeros(2, 3, 32, 32)).shape == resnet(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_both_wrappings_of_a_subject_are_one_network() -> None:
    subject = peers.subject_named("small", 4)
    with torch.no_grad():
        assert torch.equal(subject.ours.logits(subject.x), subject.theirs(subject.x))
        assert torch.equal(subject.theirs(subject.x).argmax(1), subject.y)
    assert counted(limit(subject.theirs, 3), subject)[1] == 3


def test_rounds_are_interleaved_and_ratios_are_of_one_round() -> None:
    seen: list[str] = []
    works = {name: (lambda name=name: seen.append(name)) for name in ("one", "two")}

    def clock(work: Any) -> float:
        work()
        return {"one": 1.0, "two": 2.0}[seen[-1]] * (1 + len(seen) // 2)  # the machine gets slower and slower

    times = interleaved(works, 3, clock)
    assert sorted(seen[:2]) == ["one", "two"]  # untimed
    assert [sorted(seen[at : at + 2]) for at in (2, 4, 6)] == [["one", "two"]] * 3
    assert len(times.seconds["one"]) == 3
    assert spread([3.0]) == dict.fromkeys(("median", "q1", "q3", "min", "max"), 3.0)
    assert spread([1.0, 2.0, 9.0])["median"] == 2.0
