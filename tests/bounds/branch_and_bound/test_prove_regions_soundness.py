"""Nothing that branch and bound certifies is broken, by float32's traps or by attacks; what limits do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harden.bounds import Branching, Method, Program, certify
from harden.errors import InputError
from harden.graph import GraphNetwork, read
from harden.threats import L1, L2, Linf, Threat
from tests.bounds.networks import KINDS, runtime
from tests.bounds.test_float32_traps import TRAPS

POINTS = 10_000
FEW = Branching(seconds=None, parts=300)
SEARCHES: tuple[tuple[str, Threat, int], ...] = (
    ("dense", Linf("1/5"), 8),
    ("dense", Linf("1/5"), 0),
    ("dense", L2("1/4"), 0),
    ("dense", L1("1/2"), 8),
    ("conv", Linf("1/10"), 8),
    ("residual", Linf("1/20"), 8),
    ("pooling", Linf("1/20"), 8),
    ("leakyrelu", Linf("1/5"), 0),
    ("abs", Linf("1/5"), 8),
    ("tanh", Linf("1/10"), 8),
    ("erf", Linf("1/10"), 8),
)
"""A kind of network, a ball, and how many inputs are bisected: with 0, signs are chosen."""


def attacked(network: GraphNetwork, x: Tensor, y: int, threat: Threat) -> Tensor:
    """Points of the ball of one image: random ones and corners, and a hundred climbs against the label."""
    noise = torch.rand(POINTS, *x.shape[1:], generator=torch.Generator().manual_seed(1)) * 2 - 1
    noise[POINTS // 2 :] = noise[POINTS // 2 :].sign()
    many = x.expand(POINTS, *x.shape[1:]).contiguous()
    found = many + float(threat.eps) * noise
    threat.project_(found, many)
    climbed = found[:: POINTS // 100].clone()
    for step in range(20):
        climbed.requires_grad_()
        logits = network(climbed)
        others = logits.clone()
        others[:, y] = -torch.inf
        (gradient,) = torch.autograd.grad((others.amax(1) - logits[:, y]).sum(), climbed)
        with torch.no_grad():
            climbed = climbed + float(threat.eps) * 0.5 / (1 + step / 4) * gradient.sign()
            threat.project_(climbed, many[: len(climbed)])
    return torch.cat([found, climbed.detach()])


@pytest.mark.parametrize(("kind", "threat", "axes"), SEARCHES, ids=str)
def test_what_branching_certifies_is_never_broken(kind: str, threat: Threat, axes: int) -> None:
    branching = replace(FEW, axes=axes)
    for seed in range(2):
        built = KINDS[kind](seed)
        model = built.model()
        graph, run = read(model), runtime(model)
        network, program = GraphNetwork(graph), Program.of(graph)
        x = torch.rand(6, *built.shape, generator=torch.Generator().manual_seed(seed))
        y = torch.from_numpy(run(x.numpy()).argmax(1))
        proofs = certify(program, x, y, threat, Method(climb=None, branching=branching))
        for at in proofs.certified.nonzero().flatten().tolist():
            points = attacked(network, x[at : at + 1], int(y[at]), threat).numpy()
            assert (run(points).argmax(1) == int(y[at])).all()
        for at, candidate in proofs.candidates.items():
            assert candidate.dtype == torch.float32
            again = candidate[None].clone()
            threat.project_(again, x[at : at + 1])
            torch.testing.assert_close(again[0], candidate)


def test_more_is_certified_than_without_in_each_way() -> None:
    for kind, threat, axes in (SEARCHES[0], SEARCHES[1], SEARCHES[4], SEARCHES[8]):
        before = after = 0
        for seed in range(2):
            built = KINDS[kind](seed)
            graph = read(built.model())
            x = torch.rand(6, *built.shape, generator=torch.Generator().manual_seed(seed))
            y = graph.run(x).argmax(1)
            program = Program.of(graph)
            before += int(certify(program, x, y, threat).certified.sum())
            method = Method(branching=replace(FEW, axes=axes))
            after += int(certify(program, x, y, threat, method).certified.sum())
        assert after > before, kind


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.parametrize("axes", [0, 100], ids=["signs", "halves"])
def test_no_float32_trap_is_certified(name: str, axes: int) -> None:
    built = TRAPS[name][0]()
    x, y = torch.ones(1, *built.shape), torch.zeros(1, dtype=torch.int64)
    method = Method(branching=Branching(None, 40, axes=axes))
    program = Program.of(read(built.model()))
    for threat in (Linf("1/1000000000"), Linf("1/100")):
        assert not bool(certify(program, x, y, threat, method).certified)


def test_without_time_everything_stays_open() -> None:
    built = KINDS["conv"](1)
    graph = read(built.model())
    program, x = Program.of(graph), torch.rand(4, *built.shape, generator=torch.Generator().manual_seed(0))
    y, threat = graph.run(x).argmax(1), Linf("1/10")
    before = certify(program, x, y, threat)
    after = certify(program, x, y, threat, Method(branching=Branching(seconds=0.0)))
    assert bool((before.margins == after.margins).all())
    assert set(after.candidates) == set((~before.certified).nonzero().flatten().tolist())
    with pytest.raises(InputError, match="one of seconds or parts"):
        Branching(seconds=None)


@pytest.mark.parametrize(("kind", "axes"), [("dense", 8), ("dense", 0), ("conv", 8)])
def test_neither_the_batch_nor_a_second_call_changes_an_answer(kind: str, axes: int) -> None:
    built = KINDS[kind](1)
    graph = read(built.model())
    program, x = Program.of(graph), torch.rand(6, *built.shape, generator=torch.Generator().manual_seed(1))
    y = graph.run(x).argmax(1)
    method = Method(climb=None, branching=Branching(None, 100, axes=axes))
    found = [certify(program, x, y, Linf("1/10"), replace(method, batch=size)) for size in (6, 6, 2, 1)]
    assert bool((found[0].margins == found[1].margins).all())
    for other in found[2:]:
        torch.testing.assert_close(other.margins, found[0].margins, rtol=1e-6, atol=1e-6)
