"""Nothing that branch and bound certifies is broken, by float32's traps or by attacks; what limits do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harden.bounds import Branching, Method, Program, Region, certify
from harden.bounds.branch_and_bound.relu_splits import SignSplit
from harden.bounds.branch_and_bound.splits import InputSplit, VerificationQueries
from harden.bounds.certification import margin_rows
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import narrow, relax
from harden.bounds.rules import Rectifier
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


@pytest.mark.parametrize("kind", ["dense", "conv", "residual", "leakyrelu"])
def test_a_part_is_bounded_below_all_points_that_have_its_signs(kind: str) -> None:
    """Signs taken from points themselves, so that parts are not empty, and multipliers of any size."""
    built = KINDS[kind](1)
    graph = read(built.model())
    program = Program.of(graph)
    x = torch.rand(1, *built.shape, generator=torch.Generator().manual_seed(0))
    y = graph.run(x).argmax(1)
    generator = torch.Generator().manual_seed(2)
    points = (x + (torch.rand(3000, *built.shape, generator=generator) * 2 - 1) / 10).clamp(0, 1)
    values = graph.values(points)
    with torch.no_grad():
        found = relax(program, Region.around(x, Linf("1/10")))
        rows, image = margin_rows(y, program.classes, found.region.lower)
        asked = VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1))
        split = SignSplit(found, asked, 2, 0.1)
        names = [name for name in values if name in split.values]
        seen = torch.cat([values[name].flatten(1).sign() for name in names], 1).to(torch.int8)
        margins = values[program.output].double() @ rows.mT
        for number in range(30):
            signs, free = split.first(torch.arange(len(rows)))
            chosen = torch.randperm(seen.shape[1], generator=generator)[: 1 + number % 12]
            signs[:, chosen] = seen[number, chosen]
            free = free + 3 * torch.rand(free.shape, generator=generator)
            bounds = split.bounded(torch.arange(len(rows)), (signs, free)).bounds
            inside = (seen[:, chosen] * seen[number, chosen] >= 0).all(1)
            assert bool(inside.any())
            assert bool((bounds <= margins[inside].amin(0)).all())


@pytest.mark.parametrize("kind", ["dense", "conv", "leakyrelu"])
def test_an_interval_holds_all_values_of_the_points_that_have_its_signs(kind: str) -> None:
    built = KINDS[kind](1)
    graph = read(built.model())
    program = Program.of(graph)
    x = torch.rand(1, *built.shape, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(2)
    points = (x + (torch.rand(3000, *built.shape, generator=generator) * 2 - 1) / 10).clamp(0, 1)
    values = graph.values(points)
    found = relax(program, Region.around(x, Linf("1/10")))
    for step in program.steps:
        if not isinstance(step.rule, Rectifier):
            continue
        name, seen = step.inputs[0], values[step.inputs[0]]
        for at in range(seen[0].numel()):
            for sign in (1, -1):
                signs = torch.zeros(1, *seen.shape[1:], dtype=torch.int8)
                signs.view(-1)[at] = sign
                inside = sign * seen.flatten(1)[:, at] >= 0
                part = narrow(found, torch.zeros(1, dtype=torch.int64), {name: signs})
                for other, (lower, upper) in part.intervals.items():
                    assert bool((values[other][inside] >= lower).all())
                    assert bool((values[other][inside] <= upper).all())


def test_multipliers_of_the_wrong_sign_count_as_none() -> None:
    built = KINDS["dense"](1)
    program = Program.of(read(built.model()))
    x = torch.rand(1, 6, generator=torch.Generator().manual_seed(0))
    found = relax(program, Region.around(x, Linf("1/10")))
    rows, image = margin_rows(torch.tensor([0]), program.classes, found.region.lower)
    plain = found.lower(program.output, DenseCoefficients(rows), image)
    step = next(each for each in program.steps if isinstance(each.rule, Rectifier))
    lower, upper = found.intervals[step.inputs[0]]
    assert bool((lower >= 0).any() and (upper <= 0).any() and ((lower < 0) & (upper > 0)).any())
    wrong = torch.where(lower >= 0, 1.0, torch.where(upper <= 0, -1.0, 3.0)).expand(len(rows), -1)
    pulls = {step.inputs[0]: wrong}
    assert bool((found.lower(program.output, DenseCoefficients(rows), image, None, pulls) == plain).all())


def test_both_signs_are_tried() -> None:
    program = Program.of(read(KINDS["dense"](1).model()))
    found = relax(program, Region.around(torch.full((1, 6), 0.5), Linf("1/10")))
    rows, image = margin_rows(torch.tensor([0]), program.classes, found.region.lower)
    split = SignSplit(found, VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1)), 1, 0.1)
    place = torch.tensor([3, 0, 20])
    signs, _ = split.halves(split.first(torch.arange(3)), place)
    for half, sign in ((signs[:3], 1), (signs[3:], -1)):
        assert half[torch.arange(3), place].tolist() == [sign] * 3
        assert int(half.abs().sum()) == 3


def test_both_halves_hold_every_input() -> None:
    built = KINDS["dense"](0)
    program = Program.of(read(built.model()))
    x = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
    found = relax(program, Region.around(x, Linf("1/7")))
    rows, image = margin_rows(torch.tensor([0, 1]), program.classes, found.region.lower)
    split = InputSplit(found, VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1)))
    lower, upper = split.first(torch.arange(len(rows)))
    place = torch.arange(len(rows)) % 6
    low, high = split.halves((lower, upper), place)
    n = len(rows)
    assert bool((torch.minimum(low[:n], low[n:]) == lower).all())
    assert bool((torch.maximum(high[:n], high[n:]) == upper).all())
    at = torch.arange(n)
    assert bool((high[at, place] == low[n + at, place]).all())


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
