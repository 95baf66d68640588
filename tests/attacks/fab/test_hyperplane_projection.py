"""The shortest way to a hyperplane in the box: against linear and quadratic programs, and row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from harden.attacks.fab.hyperplane_projection import FEW, NORMS, check_norm, to_plane
from harden.errors import InputError

pytestmark = pytest.mark.usefixtures("rng_untouched")

EVERY_NORM = pytest.mark.parametrize("norm", NORMS)
BOX = (0.0, 1.0)


def _size(norm: str, d: Tensor) -> Tensor:
    order = {"linf": math.inf, "l2": 2.0, "l1": 1.0}[norm]
    size: Tensor = torch.linalg.vector_norm(d.double(), order, dim=-1)
    return size


def _program(norm: str, x: Tensor, w: Tensor, gap: float, box: tuple[float, float]) -> float:
    """The least |d|_p with <w, d> = gap in the box, by scipy, of one point (n,)."""
    at, normal, n = x.double().numpy(), w.double().numpy(), len(x)
    room = list(zip(box[0] - at, box[1] - at, strict=True))
    if norm == "l2":
        return _quadratic(normal, gap, np.array(room))
    one = np.eye(n)
    if norm == "linf":
        cost = np.append(np.zeros(n), 1.0)
        above = np.vstack([np.hstack([sign * one, -np.ones((n, 1))]) for sign in (1, -1)])
        more: list[tuple[float, float | None]] = [(0, None)]
    else:
        cost = np.append(np.zeros(n), np.ones(n))
        above = np.vstack([np.hstack([sign * one, -one]) for sign in (1, -1)])
        more = [(0, None)] * n
    equal = np.append(normal, np.zeros(len(more)))[None]
    answer = optimize.linprog(
        cost, above, np.zeros(len(above)), equal, [gap], bounds=[*room, *more], method="highs"
    )
    assert answer.status == 0, answer.message
    return float(answer.fun)


def _quadratic(normal: np.ndarray, gap: float, room: np.ndarray) -> float:
    """By the dual: d(t) = clip(t w) in the box, and the t that fills the gap, which scipy looks for."""

    def lacks(t: float) -> float:
        return float(normal @ np.clip(t * normal, room[:, 0], room[:, 1])) - gap

    end = math.copysign(1e6, gap)
    t = optimize.brentq(lacks, 0.0, end, xtol=1e-14) if gap else 0.0
    return float(np.linalg.norm(np.clip(t * normal, room[:, 0], room[:, 1])))


def _case(seed: int, n: int, box: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
    """A point with some entries on the box's faces, a normal with zeros and ties, the widest gaps."""
    generator = torch.Generator().manual_seed(seed)
    x = (1.4 * torch.rand(n, generator=generator) - 0.2).clamp(0, 1) * (box[1] - box[0]) + box[0]
    w = torch.randn(n, generator=generator)
    if seed % 3 == 0:
        w = w.round(decimals=0)
    w[0] = 1.5
    ends = torch.stack((w.double() * (box[0] - x.double()), w.double() * (box[1] - x.double())))
    return x.clamp(*box), w, torch.stack((ends.amin(0).sum(), ends.amax(0).sum()))


@EVERY_NORM
@given(
    seed=st.integers(0, 10**6),
    n=st.sampled_from([1, 2, 5, 12]),
    share=st.floats(0.02, 0.98),
    up=st.booleans(),
    box=st.sampled_from([BOX, (-1.0, 1.0)]),
)
def test_it_is_the_solution_of_a_program(
    norm: str, seed: int, n: int, share: float, up: bool, box: tuple[float, float]
) -> None:
    x, w, ends = _case(seed, n, box)
    gap = share * float(ends[int(up)])
    d = to_plane(norm, x.view(1, 1, n), w.view(1, n), torch.tensor([[gap]]).double(), box)[0, 0]
    assert d.dtype == torch.float32
    assert float(w.double() @ d.double()) == pytest.approx(gap, rel=1e-5, abs=1e-6)
    assert bool((x.double() + d.double() >= box[0] - 1e-7).all())
    assert bool((x.double() + d.double() <= box[1] + 1e-7).all())
    assert float(_size(norm, d)) == pytest.approx(_program(norm, x, w, gap, box), rel=1e-4, abs=1e-5)


def test_the_quadratic_program_is_one() -> None:
    """Its dual, which the test above trusts, against a solver that knows nothing of it."""
    for seed in range(6):
        x, w, ends = _case(seed, 5, BOX)
        normal, gap = w.double().numpy(), 0.6 * float(ends[1])
        room = np.stack((-x.double().numpy(), 1 - x.double().numpy()), 1)
        start = np.clip(1e6 * normal, room[:, 0], room[:, 1]) * 0.6
        answer = optimize.minimize(
            lambda d: d @ d,
            start,
            jac=lambda d: 2 * d,
            method="SLSQP",
            bounds=room,
            constraints={"type": "eq", "fun": lambda d, w=normal, gap=gap: w @ d - gap},
            options={"ftol": 1e-14},
        )
        assert answer.success
        assert math.sqrt(answer.fun) == pytest.approx(_quadratic(normal, gap, room), rel=1e-4)


@EVERY_NORM
def test_many_entries_and_two_points_that_share_a_plane(norm: str) -> None:
    """More entries than are looked at first in L1; gaps that few entries fill and that nearly all do."""
    n = 4 * FEW
    cases = [_case(seed, n, BOX) for seed in (1, 2)]
    x = torch.stack([x for x, _, _ in cases]).view(2, 1, n)
    w = cases[0][1].view(1, n)
    for share in (0.01, 0.5, 0.95):
        widest = (w * ((w > 0).float() - x)).double().sum(-1)
        gap = share * widest
        d = to_plane(norm, x, w, gap, BOX)
        for point in range(2):
            best = _program(norm, x[point, 0], w[0], float(gap[point, 0]), BOX)
            assert float(_size(norm, d[point, 0])) == pytest.approx(best, rel=1e-4)


@EVERY_NORM
def test_a_plane_out_of_reach_gives_the_corner_nearest_to_it(norm: str) -> None:
    x, w, ends = _case(4, 9, BOX)
    w[3] = 0.0
    for gap, corner in ((1.5 * ends[1], (w > 0).float()), (1.5 * ends[0], (w < 0).float())):
        d = to_plane(norm, x.view(1, 1, 9), w.view(1, 9), gap.view(1, 1), BOX)[0, 0]
        torch.testing.assert_close(x + d, torch.where(w == 0, x, corner), rtol=0, atol=1e-7)


@EVERY_NORM
def test_the_scale_of_the_loss_means_nothing(norm: str) -> None:
    x, w, ends = _case(5, 12, BOX)
    gap = 0.4 * ends[1]
    plain = to_plane(norm, x.view(1, 1, 12), w.view(1, 12), gap.view(1, 1), BOX)
    for power in (-110, -30, 30, 110):
        scale = 2.0**power
        found = to_plane(norm, x.view(1, 1, 12), scale * w.view(1, 12), scale * gap.view(1, 1), BOX)
        assert torch.equal(found, plain)


@EVERY_NORM
@pytest.mark.parametrize("n", [7, 3 * FEW])
def test_an_example_has_the_same_bits_alone_and_in_any_batch(norm: str, n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    x = (1.4 * torch.rand(2, 20, n, generator=generator) - 0.2).clamp(0, 1)
    w = torch.randn(20, n, generator=generator)
    w[::3] = w[::3].round()  # many ties, whose order a sort may change
    widest = (w * ((w > 0).float() - x)).double().sum(-1)
    gap = widest * torch.rand(2, 20, generator=generator).double() * 1.2
    whole = to_plane(norm, x, w, gap, BOX)
    for rows in (torch.tensor([3]), torch.tensor([19, 0, 4]), torch.arange(0, 20, 2)):
        assert torch.equal(to_plane(norm, x[:, rows], w[rows], gap[:, rows], BOX), whole[:, rows])


@EVERY_NORM
def test_entries_that_tie_move_by_the_same_share_of_their_room(norm: str) -> None:
    x = torch.tensor([0.5, 0.2, 0.8, 1.0]).view(1, 1, 4)
    d = to_plane(norm, x, torch.ones(1, 4), torch.tensor([[0.75]]).double(), BOX).flatten()
    expected = [0.25, 0.4, 0.1, 0.0] if norm == "l1" else [0.275, 0.275, 0.2, 0.0]
    assert d.tolist() == pytest.approx(expected, abs=1e-6)


@EVERY_NORM
def test_what_is_no_number_moves_nothing(norm: str) -> None:
    x, w, ends = _case(7, 6, BOX)
    gap = 0.3 * ends[1]
    spoilt = w.clone()
    spoilt[1], spoilt[2], spoilt[3] = math.nan, math.inf, -math.inf
    zeroed = spoilt.nan_to_num(0.0, 0.0, 0.0)
    rows = torch.stack((spoilt, zeroed, torch.zeros(6), w, w, torch.full((6,), math.nan)))
    gaps = torch.stack((gap, gap, gap, gap * math.nan, gap * math.inf, gap)).view(1, 6)
    d = to_plane(norm, x.expand(1, 6, 6), rows, gaps, BOX)[0]
    assert torch.equal(d[0], d[1])
    assert float(d[0].abs().sum()) > 0
    assert torch.equal(d[2:], torch.zeros(4, 6))


def test_another_norm_is_refused() -> None:
    with pytest.raises(InputError, match="a threat in the norm 'l0'"):
        check_norm("l0")
