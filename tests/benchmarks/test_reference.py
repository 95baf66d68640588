"""The comparison with AutoAttack at toy size, with a stand-in for it; no time is judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import patience, reference
from benchmarks.peering import cases
from benchmarks.peering.trained import Place

STANDIN = '''
import torch


class AutoAttack:
    """Breaks the first two images by inverting them, and leaves the others."""

    def __init__(self, model, norm, eps, version, verbose, device):
        assert (norm, version, device) == ("Linf", "standard", "cpu")
        self.model, self.eps = model, eps

    def run_standard_evaluation(self, x, y, bs):
        x = x.clone()
        x[:2] = 1 - x[:2]
        return x
'''


@pytest.mark.once
def test_both_are_compared_example_by_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "checkout" / "autoattack"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STANDIN)
    monkeypatch.setattr(reference, "RECORD", tmp_path / "record.jsonl")
    words = ["--autoattack", str(tmp_path / "checkout"), "--toy", "--norms", "linf", "--kinds", "plain"]
    out = tmp_path / "out.json"
    assert reference.main([*words, "--json", str(out), "--record"]) == 0
    found = json.loads(out.read_text())
    (case,) = found["cases"]
    assert (case["data"], case["training"], case["norm"], case["images"]) == ("digits", "plain", "linf", 12)
    assert case["ours"]["robust"] <= case["ours"]["clean"]
    assert {"apgd-ce", "apgd-t", "fab-t", "square"} < set(case["ours"]["broken"])
    # What only one of them broke explains the difference.
    ours, theirs = len(case["only_ours_broke"]), len(case["only_theirs_broke"])
    assert case["difference_in_points"] == pytest.approx(100 * (theirs - ours) / 12, abs=0.01)
    (line,) = (json.loads(text) for text in (tmp_path / "record.jsonl").read_text().splitlines())
    assert line["versions"]["torch"] == torch.__version__
    assert line["seconds_ratio"] == case["seconds_ratio"]


@pytest.mark.once
def test_without_a_checkout_ours_stands_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ["--toy", "--norms", "l2", "--kinds", "plain", "--bfloat16", "--json", str(out)]
    assert reference.main(words) == 0
    (case,) = json.loads(out.read_text())["cases"]
    assert "theirs" not in case
    above = case["in_bfloat16"]["robust"] - case["ours"]["robust"]
    assert case["bfloat16_above_float32_in_points"] == pytest.approx(100 * above, abs=0.01)
    assert case["ours"]["passes_per_image"] > 0


def test_the_certified_network_is_read_as_its_authors_stored_it(tmp_path: Path) -> None:
    layers = [torch.nn.Conv2d(1, 16, 4, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 4, 2, 1)]
    layers += [torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(1568, 100), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(100, 10))
    torch.save(network.state_dict(), tmp_path / "wong.pth")
    images = np.random.default_rng(0).random((20, 28, 28, 1)).astype(np.float32)
    labels = np.arange(20) % 10
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with Place(None, "7E", 10, 10) as place:
        words = [str(tmp_path / "wong.pth"), f"npz:{tmp_path / 'mnist.npz'}"]
        (case,) = cases.of([], [], [], place, words)
    assert (str(case.threat.eps), case.described["training"]) == ("1/10", "Wong & Kolter")
    with torch.no_grad():
        assert torch.equal(case.subject.theirs(case.subject.x), network.eval()(case.subject.x))


@pytest.mark.once
def test_what_patience_rests_on_can_be_measured_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert patience.main(["--toy", "--norms", "linf"]) == 0
    (line,) = (json.loads(text) for text in capsys.readouterr().out.splitlines() if text.startswith("{"))
    assert {"square 500", "square 1000", "fab 10", "fab 20", "fab 30"} < set(line)
    assert line["square 1000"]["late"] <= line["square 500"]["late"]
