"""A certified box withstands 10,000 points at each optimisation of the runtime, on one thread and on two."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from harden.bounds import Method, Program, certify
from harden.graph import GraphNetwork, read
from harden.threats import L1, L2, Linf, Threat
from tests.bounds.networks import KINDS, LEVELS, runtime

POINTS, CLIMBS = 10_000, 500
THREATS: tuple[Threat, ...] = (Linf("1/100"), Linf("1/25"), L2("1/10"), L1("1/5"))


def points(network: GraphNetwork, x: Tensor, y: int, threat: Threat) -> Tensor:
    """Random points of the ball and its corners, and the ends of climbs towards each other class."""
    generator = torch.Generator().manual_seed(int(y))
    many = x.expand(POINTS, *x.shape[1:]).contiguous()
    noise = torch.rand(many.shape, generator=generator) * 2 - 1
    noise[::3] = noise[::3].sign()
    found = many + float(threat.eps) * noise
    threat.project_(found, many)
    climbed, centre = found[:CLIMBS].clone(), many[:CLIMBS]
    classes = network(x).shape[1]
    others = torch.tensor([label for label in range(classes) if label != y])
    target = others[torch.arange(CLIMBS) % len(others)]
    for step in range(30):
        climbed.requires_grad_()
        logits = network(climbed)
        margin = logits[torch.arange(CLIMBS), target] - logits[:, y]
        (gradient,) = torch.autograd.grad(margin.sum(), climbed)
        climbed = climbed.detach()
        size = torch.full((1,), float(threat.eps) * 0.5 * 0.9**step)
        threat.step_(climbed, centre, gradient, size)
    return torch.cat([found, climbed])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nothing_in_a_certified_box_is_answered_otherwise(kind: str) -> None:
    built = KINDS[kind](5)
    model = built.model()
    graph = read(model)
    program, network = Program.of(graph), GraphNetwork(graph)
    x = torch.rand(6, *built.shape, generator=torch.Generator().manual_seed(7))
    y = torch.from_numpy(runtime(model)(x.numpy()).argmax(1))
    runs = [runtime(model, level, threads) for level in LEVELS for threads in (1, 2)]
    certified = 0
    for threat in THREATS:
        proofs = certify(program, x, y, threat, Method())
        for at in proofs.certified.nonzero().flatten().tolist()[:2]:
            certified += 1
            tried = points(network, x[at : at + 1], int(y[at]), threat)
            assert bool(threat.contains(tried, x[at : at + 1].expand_as(tried)).all())
            for run in runs:
                logits = run(tried.numpy()).astype(np.float64)
                rival = np.delete(logits, int(y[at]), axis=1).max(1)
                least = (logits[:, int(y[at])] - rival).min()
                assert least > 0
                assert least >= float(proofs.margins[at])  # the bound is one of what the runtime computes
    assert certified >= 2


def test_the_levels_are_all_that_the_runtime_has() -> None:
    named = {name for name in dir(onnxruntime.GraphOptimizationLevel) if name.startswith("ORT_")}
    assert {level.name for level in LEVELS} >= named - {"ORT_ENABLE_LAYOUT"}
