"""The CUDA benchmark's dry run: every path, no device, and a record that is gone on with."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.peering import provenance


def test_the_dry_run_walks_every_path_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a dry run requested a CUDA device")

    monkeypatch.setattr(torch.cuda, "synchronize", refused)
    monkeypatch.setattr(torch.cuda, "is_available", refused)
    out = tmp_path / "gpu.jsonl"
    words = ["--dry-run", "--commit", "none", "--out", str(out)]
    assert gpu.main(words) == 0
    lines = provenance.recorded(out)
    each = [(row, net, batch) for net in gpu.NETS for batch in (2, 3) for row in ("steps", "attack")]
    found = [(line["row"], line.get("net"), line.get("batch")) for line in lines]
    assert found == [("steps", None, None), *each]
    size = {"resnet18": (16, 16), "resnet50": (32, 32)}
    for line in lines:
        assert line["device"].startswith("dry run")
        if line["row"] == "steps":
            assert set(line["share_of_copy"]) == {"linf", "l2"}
            assert line["bytes"]["linf"] == 2 * line["bytes"]["copy"]
        else:
            assert {
                "limit, graph",
                "harden_fp32, own limit, graph",
                "harden_fp32",
                "harden_fp32, eager",
            } <= set(line["ratio_to_limit"])
            assert line["step_bytes"] == 4 * 4 * math.prod([line["batch"], 3, *size[line["net"]]])
    out.write_text("".join(f"{json.dumps(line)}\n" for line in lines[:-1]))
    capsys.readouterr()
    assert gpu.main(words) == 0
    assert capsys.readouterr().out.count("recorded already") == 8
    assert len(provenance.recorded(out)) == 9
