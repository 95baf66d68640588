"""Branch and bound beside the exact answer of tiny networks, and what it must never say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.optimize import linprog
from sklearn.datasets import load_digits

from harden.bounds import Branching, Method, Program, SlopeAscent, certify
from harden.bounds.vnnlib.parse import parse
from harden.bounds.vnnlib.prove_unsat import refute_clauses, refuted_clauses
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import Builder, dense_net, runtime

Array = NDArray[np.float64]
EPS = 0.25
SIGNS, HALVES = Branching(None, 2000, axes=0), Branching(None, 20_000, axes=8)


def tiny_net(seed: int) -> Builder:
    """2 -> 7 -> 6 -> 3."""
    net = Builder((2,), seed)
    for inputs, outputs in ((2, 7), (7, 6)):
        net.add("Gemm", net.normal(inputs, outputs), net.normal(outputs, scale=0.3))
        net.add("Relu")
    net.dense(6, 3)
    return net


def layers_of(net: Builder) -> list[tuple[Array, Array]]:
    """Weights (in, out) and biases, in order."""
    constants = [numpy_helper.to_array(each).astype(np.float64) for each in net.constants]
    return list(zip(constants[::2], constants[1::2], strict=True))


def exact_margin(layers: list[tuple[Array, Array]], low: Array, high: Array, y: int) -> float:
    """The least logit_y - logit_j over a box: a linear program for each pattern that the box can have."""
    found = np.inf
    (w1, b1), (w2, b2), (w3, b3) = layers
    box = list(zip(low, high, strict=True))
    for first in patterns(w1, b1, np.zeros((0, 2)), np.zeros(0), box):
        cut1, edge1 = sides(w1, b1, first)
        hidden, offset = w1 * first, b1 * first
        w12, b12 = hidden @ w2, offset @ w2 + b2
        for second in patterns(w12, b12, cut1, edge1, box):
            cut2, edge2 = sides(w12, b12, second)
            last, bias = (w12 * second) @ w3, (b12 * second) @ w3 + b3
            for j in set(range(w3.shape[1])) - {y}:
                lp = [np.vstack([cut1, cut2]), np.concatenate([edge1, edge2])]
                answer = linprog(last[:, y] - last[:, j], *lp, bounds=box)
                if answer.status == 0:
                    found = min(found, answer.fun + bias[y] - bias[j])
    return float(found)


def sides(w: Array, b: Array, pattern: Array) -> tuple[Array, Array]:
    """A x <= c where the pattern holds."""
    sign = np.where(pattern > 0, -1.0, 1.0)
    return (w * sign).T, -b * sign


def patterns(w: Array, b: Array, cut: Array, edge: Array, box: list[tuple[float, float]]) -> list[Array]:
    """The signs that x w + b can have in the box where cut x <= edge, by adding one value after the other."""
    found = [np.zeros(0)]
    for at in range(len(b)):
        longer = [np.append(old, sign) for old, sign in product(found, (0.0, 1.0))]
        found = []
        for each in longer:
            more, bound = sides(w[:, : at + 1], b[: at + 1], each)
            answer = linprog(np.zeros(2), np.vstack([cut, more]), np.concatenate([edge, bound]), bounds=box)
            if answer.status == 0:
                found.append(each)
    return found


@pytest.mark.parametrize("branching", [SIGNS, HALVES], ids=["signs", "halves"])
@pytest.mark.parametrize("seed", range(4))
def test_the_verdict_is_that_of_all_patterns(seed: int, branching: Branching) -> None:
    net = tiny_net(seed)
    graph = read(net.model())
    x = torch.rand(3, 2, generator=torch.Generator().manual_seed(seed))
    y = graph.run(x).argmax(1)
    proofs = certify(Program.of(graph), x, y, Linf("1/4"), Method(branching=branching))
    for at in range(3):
        point = x[at].double().numpy()
        low, high = np.clip(point - EPS, 0, 1), np.clip(point + EPS, 0, 1)
        truth = exact_margin(layers_of(net), low, high, int(y[at]))
        if abs(truth) > 1e-3:
            assert bool(proofs.certified[at]) == (truth > 0), truth
        assert float(proofs.margins[at]) <= truth + 1e-6
        if not proofs.certified[at] and truth < -1e-3:
            broken = graph.run(proofs.candidates[at][None]).argmax(1) != y[at]
            assert bool(broken)


def trained_on_digits() -> tuple[Builder, torch.Tensor, torch.Tensor]:
    """64 -> 100 -> 100 -> 10, 200 rectifiers, with images and labels that it was not trained on."""
    digits = load_digits()
    x = torch.from_numpy((digits.data / 16).astype(np.float32))
    y = torch.from_numpy(digits.target.astype(np.int64))
    generator = torch.Generator().manual_seed(0)
    sizes = ((64, 100), (100, 100), (100, 10))
    weights = [torch.randn(a, b, generator=generator) * (2 / a) ** 0.5 for a, b in sizes]
    parameters = [each.requires_grad_() for each in (*weights, *(torch.zeros(b) for _, b in sizes))]
    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    for _ in range(600):
        chosen = torch.randperm(1500, generator=generator)[:100]
        value = x[chosen] + 0.05 * (torch.rand(100, 64, generator=generator) * 2 - 1)
        for depth in range(3):
            value = (value if depth == 0 else value.relu()) @ parameters[depth] + parameters[3 + depth]
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(value, y[chosen]))
        optimiser.step()
    net = Builder((64,))
    for depth in range(3):
        net.add("Gemm", *(parameters[at].detach().numpy() for at in (depth, 3 + depth)))
        if depth < 2:
            net.add("Relu")
    return net, x[1500:1530], y[1500:1530]


def test_a_dense_net_gets_an_answer_for_nearly_every_image() -> None:
    net, x, y = trained_on_digits()
    model = net.model()
    run, program = runtime(model), Program.of(read(model))
    right = torch.from_numpy(run(x.numpy()).argmax(1)) == y
    x, y = x[right], y[right]
    threat = Linf("1/14")
    before = certify(program, x, y, threat).certified
    after = certify(program, x, y, threat, Method(branching=Branching(None, parts=1000)))
    assert bool(after.certified[before].all())
    broken = {
        at for at, found in after.candidates.items() if run(found[None].numpy()).argmax(1) != int(y[at])
    }
    unknown, still = len(y) - int(before.sum()), len(y) - int(after.certified.sum()) - len(broken)
    assert int(after.certified.sum()) > int(before.sum())
    assert broken
    assert still < unknown / 3


def test_a_clause_is_refuted_by_another_row_in_each_part() -> None:
    """Y_0 = x and Y_1 = -x are not both below 0, and neither is above it everywhere."""
    net = Builder((1,))
    net.add("Gemm", np.array([[1, -1]], dtype=np.float32), np.zeros(2, dtype=np.float32))
    net.add("Relu")
    program = Program.of(read(net.model()))
    names = "(declare-const X_0 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)"
    box = "(assert (>= X_0 -1))(assert (<= X_0 1))"
    both = parse(f"{names}{box}(assert (<= Y_0 0.125))(assert (<= Y_1 0.125))")
    apart = parse(f"{names}{box}(assert (>= Y_0 0.125))(assert (>= Y_1 0.125))")
    assert refuted_clauses(program, apart) == (False,)
    for axes in (8, 0):
        method = Method(branching=Branching(None, 100, axes=axes))
        assert refuted_clauses(program, apart, method) == (True,)
        (answer,) = refute_clauses(program, both, method)
        assert not answer.refuted
        assert answer.candidate is not None
        if axes:  # where signs are chosen, candidates are corners of the box
            assert bool((read(net.model()).run(answer.candidate[None]) <= 0.125).all())


def test_a_climb_refutes_more_clauses() -> None:
    """The largest bound that is refuted, by bisection."""
    net = dense_net(1)
    program = Program.of(read(net.model()))
    names = " ".join(f"(declare-const X_{at} Real)(assert (>= X_{at} 0))" for at in range(6))
    names += " ".join(f"(assert (<= X_{at} 1))" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)" for at in range(4))
    reached = []
    for method in (
        Method(climb=None),
        Method(climb=SlopeAscent(50)),
        Method(climb=None, branching=Branching(None, 300)),
    ):
        low, high = -32.0, 32.0
        for _ in range(14):
            middle = (low + high) / 2
            done = refuted_clauses(program, parse(f"{names}(assert (<= Y_0 {middle}))"), method)[0]
            low, high = (middle, high) if done else (low, middle)
        reached.append(low)
    assert reached[0] < reached[1] < reached[2]
