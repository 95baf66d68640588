"""Branch and bound beside the exact answer of tiny networks, and what it must never say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.optimize import linprog

from harden.bounds import Branching, Method, Program, certify
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import Builder

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
