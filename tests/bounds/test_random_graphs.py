"""Random graphs with weights of every magnitude: no proof that an execution contradicts, and no traceback."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from harden.bounds import Branching, Method, Program, SlopeAscent, certify
from harden.bounds.vnnlib.parse import Property, parse
from harden.bounds.vnnlib.prove_unsat import refute_clauses
from harden.errors import InputError
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import LEVELS, Builder, runtime
from tests.bounds.random_graphs import Case, points_of, random_case

METHODS = {
    "ibp": Method(climb=None, backward=False),
    "crown": Method(climb=None),
    "parallel": Method(parallel=True, climb=None),
    "alpha-crown": Method(climb=SlopeAscent(5)),
    "signs": Method(climb=SlopeAscent(3), branching=Branching(None, 200, axes=0)),
    "halves": Method(climb=None, branching=Branching(None, 40, axes=100)),
}
POINTS = 400
BLOCK, FEW, MANY = 10, 4, 60


def is_unbroken(logits: Tensor, y: int) -> bool:
    """Whether y has the only largest logit everywhere; a NaN is no answer."""
    others = logits.clone()
    own = others[:, y].clone()
    others[:, y] = -torch.inf
    return bool((own > others.amax(1)).all())


def check_images(seed: int) -> int:
    """Certify three images by each method; how many proofs there were."""
    case = random_case(seed)
    try:
        program = Program.of(read(case.model))
    except InputError:
        return 0  # a divisor that may be flushed to 0
    # What optimisation rewrites is held against the proofs in tests of its own.
    run = runtime(case.model, LEVELS[0])
    y = torch.from_numpy(run(case.x.numpy()).argmax(1))
    proved = 0
    for name, method in METHODS.items():
        found = certify(program, case.x, y, case.threat, method)
        assert not bool(found.margins.isnan().any()), (seed, name)
        for at in found.certified.nonzero().flatten().tolist():
            proved += 1
            points = points_of(case, at, POINTS, seed)
            assert is_unbroken(torch.from_numpy(run(points.numpy())), int(y[at])), (seed, name, at)
        for at, candidate in found.candidates.items():
            again = candidate[None].clone()
            case.threat.project_(again, case.x[at : at + 1])
            assert bool((again[0] == candidate).all()), (seed, name, at)
    return proved


def property_of(case: Case, outputs: int, seed: int) -> tuple[Property, Tensor, float]:
    """A clause over the box of image 0 whose row its own output nearly meets; the row and its limit."""
    rng = np.random.default_rng(seed)
    lower = (case.x[0] - float(case.threat.eps)).flatten()
    upper = (case.x[0] + float(case.threat.eps)).flatten()
    row = torch.from_numpy(rng.integers(-2, 3, outputs)).float()
    run = runtime(case.model, LEVELS[0])
    reached = torch.from_numpy(run(case.x[:1].numpy()))[0]
    value = float((row.double() * reached.double()).sum())
    limit = value - 0.5 * abs(value) - 1 if np.isfinite(value) else 0.0
    names = [f"(declare-const X_{at} Real)" for at in range(len(lower))]
    names += [f"(declare-const Y_{at} Real)" for at in range(outputs)]
    box = [
        f"(assert (>= X_{at} {low:.20e}))(assert (<= X_{at} {high:.20e}))"
        for at, (low, high) in enumerate(zip(lower.tolist(), upper.tolist(), strict=True))
    ]
    total = " ".join(f"(* {int(factor)} Y_{at})" for at, factor in enumerate(row.tolist()))
    return parse("".join([*names, *box, f"(assert (<= (+ {total}) {limit:.20e}))"])), row, limit


def check_property(seed: int) -> bool:
    """One clause by each method that differs in `refute_clauses`; whether any refuted it."""
    case = random_case(seed)
    try:
        program = Program.of(read(case.model))
    except InputError:
        return False
    given, row, limit = property_of(case, program.classes, seed)
    run = runtime(case.model, LEVELS[0])
    boxes = Case(case.model, case.x[:1], Linf(case.threat.eps, bounds=case.threat.bounds))
    outputs = torch.from_numpy(run(points_of(boxes, 0, POINTS, seed).numpy())).double()
    some = False
    for name in ("ibp", "alpha-crown", "signs", "halves"):
        (answer,) = refute_clauses(program, given, METHODS[name])
        if answer.refuted:
            some = True
            assert bool(((outputs * row).sum(1) > limit).all()), (seed, name)
        elif answer.candidate is not None:
            assert bool(answer.candidate.isfinite().all()), (seed, name)
    return some


@pytest.mark.parametrize("block", range(FEW))
def test_no_proof_of_a_random_graph_is_contradicted(block: int) -> None:
    assert sum(check_images(seed) for seed in range(block * BLOCK, (block + 1) * BLOCK)) > 0


@pytest.mark.once
@pytest.mark.parametrize("block", range(FEW, MANY))
def test_no_proof_of_many_random_graphs_is_contradicted(block: int) -> None:
    assert sum(check_images(seed) for seed in range(block * BLOCK, (block + 1) * BLOCK)) > 0


@pytest.mark.parametrize("block", range(2))
def test_no_refuted_clause_of_a_random_graph_is_satisfied(block: int) -> None:
    assert sum(check_property(seed) for seed in range(block * BLOCK, (block + 1) * BLOCK)) > 0


@pytest.mark.once
@pytest.mark.parametrize("block", range(2, MANY))
def test_no_refuted_clause_of_many_random_graphs_is_satisfied(block: int) -> None:
    assert sum(check_property(seed) for seed in range(block * BLOCK, (block + 1) * BLOCK)) > 0


def settled_sum() -> Builder:
    """A residual sum of maps whose signs interval arithmetic settles: no bound is open."""
    net = Builder((1, 3, 3))
    one = net.add("Conv", np.full((2, 1, 1, 1), 1, np.float32), np.full(2, 5, np.float32))
    net.add("Relu")
    net.add("Conv", np.full((2, 2, 1, 1), 1, np.float32), np.full(2, 5, np.float32))
    net.add("Add", one)
    net.add("Relu")
    net.add("Flatten")
    net.dense(18, 2)
    return net


def rectified_image() -> Builder:
    """A rectifier that reads the image and no other: its sign is no value of a step."""
    net = Builder((9,))
    net.add("Relu")
    net.dense(9, 2)
    return net


def overflowing() -> Builder:
    """Values that are infinite in one part of the region, and NaN behind it."""
    net = Builder((9,))
    large = net.add("Mul", np.full(9, 3e38, np.float32))
    net.add("Add", large)
    net.add("Relu")
    net.add("Sub", large)
    net.add("Relu")
    net.dense(9, 2)
    return net


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("build", [settled_sum, rectified_image, overflowing])
def test_nothing_open_and_nothing_finite_are_answers_too(build: Callable[[], Builder], method: str) -> None:
    net = build()
    program, run = Program.of(read(net.model())), runtime(net.model())
    x = torch.full((2, *net.shape), 0.75)
    y = torch.from_numpy(run(x.numpy()).argmax(1))
    found = certify(program, x, y, Linf("1/1000"), METHODS[method])
    assert bool(found.certified.all()) == (build is not overflowing)
    assert not bool(found.margins.isnan().any())
