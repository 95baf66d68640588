"""The gate takes what the exporter writes: baseline, check and certify on networks of less usual layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier
from tests.graph.layers import Attention, Calls

Harden = Callable[..., Any]
ATTACK = ("--norm", "linf", "--eps", "1/50", "--attacks", "pgd", "--steps", "2", "--restarts", "1")
BENT = (
    *(nn.Conv2d(1, 4, 3), nn.ELU(), nn.ReflectionPad2d(1), nn.Upsample(scale_factor=2), nn.PReLU(4)),
    *(nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), Calls(lambda x: x.amax((2, 3))), nn.Linear(8, 10)),
)
NORMED = (
    *(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(6), nn.InstanceNorm2d(8)),
    *(Attention(masked=True), nn.Softplus(), nn.Flatten(), nn.Linear(288, 10)),
)


def trained(network: nn.Sequential) -> nn.Sequential:
    """A little, on the digits that are there to train on: no code under test does it."""
    torch.manual_seed(0)
    for layer in network.modules():
        reset = getattr(layer, "reset_parameters", None)
        if callable(reset):
            reset()
    x, y = load("digits").train.x[:240], load("digits").train.y[:240]
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(40):
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(x), y))
        optimiser.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "refused"), [(BENT, ""), (NORMED, "InstanceNormalization")])
def test_a_network_of_less_usual_layers_goes_through_the_gate(
    layers: tuple[nn.Module, ...], refused: str, harden: Harden, npz: str, tmp_path: Path
) -> None:
    path, kept = tmp_path / "model.onnx", tmp_path / "baseline.json"
    onnx.save(trace(Classifier(trained(nn.Sequential(*layers))), (1, 8, 8)), path)
    answer = harden("baseline", "update", path, "--data", npz, *ATTACK, "--baseline", kept)
    assert (answer.code, answer.err) == (0, ""), answer.out
    answer = harden("check", path, "--data", npz, "--baseline", kept)
    assert answer.code in (0, 3), answer.err  # 40 images may be too few to tell, which is said
    answer = harden(
        "certify", path, "--data", npz, "--norm", "linf", "--eps", "1/1000", "--radius-steps", "0"
    )
    if not refused:
        assert answer.code == 0, answer.err
        return
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert refused in answer.err
