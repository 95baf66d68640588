"""The comparison of training steps at toy size, and the copy that the bare loop attacks."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import training_loop
from benchmarks.peering import networks


def test_both_loops_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rounds", "2", "--steps", "1", "--images", "6", "--attacks", "0", "2", "--formats", "float32"]
    assert training_loop.main(words) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["net"], line["attack_steps"]) for line in lines] == [("small", 0), ("small", 2)]
    assert all(line["ratio"]["median"] > 0 and line["bare_ms"] > 0 for line in lines)


@pytest.mark.parametrize("net", ["small", "resnet18"])
def test_the_folded_copy_follows_the_network(net: str) -> None:
    """A refreshed copy computes what the network does in inference mode."""
    network = networks.small() if net == "small" else networks.resnet18(width=4)
    x, y = torch.rand(6, 3, 32, 32), torch.arange(6)
    loop = training_loop.BareLoop(network, x, y, steps=1, bfloat16=False)
    before = loop.copy.copy(x)
    loop(2)
    loop.refresh()
    assert not torch.allclose(loop.copy.copy(x), before)
    assert torch.allclose(loop.copy.copy(x), network.eval()(x), atol=1e-3, rtol=1e-3)
