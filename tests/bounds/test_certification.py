"""Nothing that onnxruntime computes lies outside a bound: random networks, random and attacked points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.bounds import Method, Program, Region, SlopeAscent, certify
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import relax
from harden.description import describe, restore
from harden.graph import GraphNetwork, read
from harden.threats import L1, L2, Linf, Threat
from tests.bounds.networks import KINDS, LEVELS, runtime

POINTS = 2000
Array64 = NDArray[np.float64]
THREATS: tuple[Threat, ...] = (Linf("1/50"), Linf("1/5"), L2("3/10"), L1("1/2"))


def _images(shape: tuple[int, ...], n: int, seed: int) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def _points(network: GraphNetwork, x: Tensor, threat: Threat, seed: int) -> Tensor:
    """Points of the ball of one image: random ones, corners, and the ends of climbs of logit differences."""
    generator = torch.Generator().manual_seed(seed)
    many = x.expand(POINTS, *x.shape[1:])
    noise = torch.rand(many.shape, generator=generator) * 2 - 1
    noise[POINTS // 3 : 2 * POINTS // 3] = noise[POINTS // 3 : 2 * POINTS // 3].sign()
    found = (many + float(threat.eps) * noise).contiguous()
    threat.project_(found, many.contiguous())
    climbed = found[::10].clone()
    classes = network(x).shape[1]
    for step in range(20):
        climbed.requires_grad_()
        logits = network(climbed)
        index = torch.arange(len(climbed))
        value = logits[index, index % classes] - logits[index, (index // classes) % classes]
        (gradient,) = torch.autograd.grad(value.sum(), climbed)
        with torch.no_grad():
            moved = climbed + float(threat.eps) * 0.5 / (1 + step / 4) * gradient.sign()
            climbed = moved.detach()
            threat.project_(climbed, x.expand(len(climbed), *x.shape[1:]).contiguous())
    return torch.cat([x, found, climbed])


def _of_logits(found: Relaxation) -> tuple[Array64, Array64]:
    """Bounds of each logit, (N, K)."""
    n, program = len(found.region), found.program
    image, lower, upper = torch.arange(n), [], []
    for row in torch.eye(program.classes, dtype=torch.float64):
        lower.append(found.lower(program.output, DenseCoefficients(row.expand(n, -1)), image))
        upper.append(-found.lower(program.output, DenseCoefficients(-row.expand(n, -1)), image))
    return torch.stack(lower, 1).numpy(), torch.stack(upper, 1).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_no_value_of_the_runtime_leaves_its_bound(kind: str, threat: Threat) -> None:
    for seed in range(2):
        built = KINDS[kind](seed)
        model = built.model()
        graph = read(model)
        program, network = Program.of(graph), GraphNetwork(graph)
        x = _images(built.shape, 3, seed)
        with torch.no_grad():
            found = relax(program, Region.around(x, threat))
            lower, upper = _of_logits(found)
        assert (lower <= upper).all()
        for at in range(3):
            points = _points(network, x[at : at + 1], threat, seed).detach().numpy()
            for level in LEVELS[::3]:
                logits = runtime(model, level)(points).astype(np.float64)
                assert (logits >= lower[at]).all()
                assert (logits <= upper[at]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_inside_lies_in_its_interval(kind: str) -> None:
    """Also those that only other bounds are built on."""
    built = KINDS[kind](3)
    graph = read(built.model())
    program, network = Program.of(graph), GraphNetwork(graph)
    x, threat = _images(built.shape, 2, 3), Linf("1/10")
    with torch.no_grad():
        found = relax(program, Region.around(x, threat))
        plain = relax(program, Region.around(x, threat), backward=False)
    for at in range(2):
        points = _points(network, x[at : at + 1], threat, 5).detach()
        values = graph.values(points)
        for name, (lower, upper) in found.intervals.items():
            seen = values[name].double()
            assert bool((seen >= lower[at]).all())
            assert bool((seen <= upper[at]).all())
            assert bool((lower[at] >= plain.intervals[name][0][at] - 1e-9).all())
            assert bool((upper[at] <= plain.intervals[name][1][at] + 1e-9).all())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_certified_is_never_broken(kind: str) -> None:
    """And something is certified, at each size of ball where anything can be."""
    certified = 0
    for seed in range(4):
        built = KINDS[kind](seed)
        model = built.model()
        graph = read(model)
        program, network = Program.of(graph), GraphNetwork(graph)
        x = _images(built.shape, 8, seed)
        run = runtime(model)
        y = torch.from_numpy(run(x.numpy()).argmax(1))
        threat = Linf("1/100")
        proofs = certify(program, x, y, threat, Method(climb=SlopeAscent(steps=5)))
        for at in proofs.certified.nonzero().flatten().tolist():
            points = _points(network, x[at : at + 1], threat, seed).detach().numpy()
            assert (run(points).argmax(1) == int(y[at])).all()
        certified += int(proofs.certified.sum())
    assert certified >= 8


def test_a_wrong_label_is_never_certified() -> None:
    built = KINDS["dense"](0)
    graph = read(built.model())
    x = _images(built.shape, 16, 0)
    y = graph.run(x).argmin(1)
    assert not bool(certify(Program.of(graph), x, y, Linf("1/100")).certified.any())


@pytest.mark.parametrize("kind", ["dense", "residual"])
def test_the_batch_changes_no_margin(kind: str) -> None:
    built = KINDS[kind](2)
    graph = read(built.model())
    program, x = Program.of(graph), _images(built.shape, 7, 2)
    y = graph.run(x).argmax(1)
    margins = [
        certify(program, x, y, Linf("1/20"), Method(batch=size, climb=None)).margins for size in (7, 3, 1)
    ]
    for other in margins[1:]:
        torch.testing.assert_close(other, margins[0], rtol=1e-9, atol=1e-9)


def test_a_method_that_an_earlier_version_described_is_read() -> None:
    described = describe(Method(climb=SlopeAscent(steps=7)))
    assert isinstance(described, dict)
    climb = described["climb"]
    assert isinstance(climb, dict)
    assert climb["kind"] == "harden.bounds:SlopeAscent"
    for kind in ("harden.bounds.slopes:Climb", "harden.bounds.crown.alpha:Climb", "harden.bounds:Climb"):
        assert restore({**described, "climb": {**climb, "kind": kind}}) == Method(climb=SlopeAscent(steps=7))
