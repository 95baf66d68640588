"""The dry run of training on a CUDA device: no device, and a record that is gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_cifar10
from benchmarks.peering import provenance


@pytest.fixture(autouse=True)
def _no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_dry_run_trains_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, work = tmp_path / "gpu.jsonl", tmp_path / "work"
    arms = ("pgd-2", "fgsm-pgi", "trades-awp")
    words = ["--dry-run", "--arms", *arms, "--out", str(out), "--work", str(work)]
    assert gpu_cifar10.main(words) == 0
    lines = provenance.recorded(out)
    assert [line["arm"] for line in lines] == [*arms]
    for line in lines:
        assert 0 <= line["robust"] <= line["clean"] <= 1
        assert line["device"].startswith("dry run")
        assert line["n"] == 20
        assert line["E"] >= 40
    out.write_text("".join(f"{json.dumps(line)}\n" for line in lines[:-1]))
    capsys.readouterr()
    assert gpu_cifar10.main(words) == 0
    assert capsys.readouterr().out.count("recorded already") == len(lines) - 1
    again, first = provenance.recorded(out)[-1], lines[-1]
    # Training has ended in --work, and is not repeated.
    for name in ("clean", "robust", "E", "training_seconds", "events"):
        assert again[name] == first[name]


def test_without_device_or_data_it_says_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_cifar10.main(["--data", "npz:none.npz"]) == 2
    assert "a CUDA device and --data are needed" in capsys.readouterr().err
