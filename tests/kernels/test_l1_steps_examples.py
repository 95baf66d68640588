"""The L1 operations on chosen inputs: numbers worked out by hand, traps, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from harden import kernels
from harden.errors import InputError
from harden.kernels import l1_steps_reference

both_backends = pytest.mark.parametrize("backend", ["door", "torch"])


def _project(
    backend: str, y: list[float], x: list[float], eps: float, box: tuple[float, float]
) -> list[float]:
    point, clean = torch.tensor([y]), torch.tensor([x])
    run = kernels.l1_project_ if backend == "door" else l1_steps_reference.l1_project_
    run(point, clean, torch.tensor(eps), *box)
    found: list[float] = point[0].tolist()
    return found


def _step(backend: str) -> Callable[..., None]:
    return kernels.l1_step_ if backend == "door" else l1_steps_reference.l1_step_


@both_backends
@pytest.mark.parametrize(
    ("y", "x", "eps", "box", "expected"),
    [
        # Both are longer by 2 than what the ball allows: each gives up 1.
        ([3.0, 2.0], [0.0, 0.0], 3.0, (-9.0, 9.0), [2.0, 1.0]),
        # What is given up is more than one has: it goes to 0 and the other to eps.
        ([3.0, 0.5], [0.0, 0.0], 1.0, (-9.0, 9.0), [1.0, 0.0]),
        # The box cuts the first to 0.5, which leaves 0.5 for the second: the ball first would give 1 and 0.
        ([3.0, 1.0], [0.5, 0.0], 1.0, (0.0, 1.0), [1.0, 0.5]),
        # Inside the ball once it is cut by the box: nothing else moves.
        ([3.0, 0.25], [0.5, 0.0], 1.0, (0.0, 1.0), [1.0, 0.25]),
        # Downwards, too.
        ([-3.0, -1.0], [0.5, 1.0], 1.0, (0.0, 1.0), [0.0, 0.5]),
        # Two ties share what is left.
        ([1e30, 1e30, 0.0], [0.0, 0.0, 0.0], 1.0, (-9.0, 9.0), [0.5, 0.5, 0.0]),
        # Scales that no straight line joins.
        ([1e30, 1e20, 1e10, 1.0], [0.0] * 4, 1.25, (0.0, 0.5), [0.5, 0.5, 0.25, 0.0]),
    ],
)
def test_the_projection_worked_out_by_hand(
    backend: str, y: list[float], x: list[float], eps: float, box: tuple[float, float], expected: list[float]
) -> None:
    assert _project(backend, y, x, eps, box) == pytest.approx(expected, rel=2e-6, abs=2e-6)


@both_backends
@pytest.mark.parametrize("eps", [-1.0, math.nan, 0.0])
def test_an_eps_that_allows_nothing_returns_to_the_clean_example(backend: str, eps: float) -> None:
    assert _project(backend, [0.5, 0.75], [0.25, 1.0], eps, (0.0, 1.0)) == [0.25, 1.0]


@both_backends
def test_what_is_not_finite_returns_to_the_clean_example(backend: str) -> None:
    point = [math.nan, math.inf, -math.inf, 0.5]
    assert _project(backend, point, [0.25, 0.5, 0.75, 0.0], 1.0, (0.0, 1.0)) == [0.25, 0.5, 0.75, 0.5]


@both_backends
def test_the_box_wins_where_it_and_the_ball_do_not_meet(backend: str) -> None:
    assert _project(backend, [0.5, 0.5], [-1.0, 2.0], 0.1, (0.0, 1.0)) == [0.0, 1.0]


@both_backends
def test_large_examples_hold_as_rational_numbers_and_use_the_radius(backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 64, generator=generator)
    x_adv = x + torch.randn(x.shape, generator=generator)
    eps = torch.tensor([0.5, 300.0])
    run = kernels.l1_project_ if backend == "door" else l1_steps_reference.l1_project_
    run(x_adv, x, eps, 0.0, 1.0)
    for moved, clean, radius in zip(x_adv, x, eps.tolist(), strict=True):
        pairs = zip(moved.reshape(-1).tolist(), clean.reshape(-1).tolist(), strict=True)
        total = sum((abs(Fraction(a) - Fraction(b)) for a, b in pairs), Fraction(0))
        roundings = sum(2.0**-24 * (abs(a) > 0) for a in (moved - clean).reshape(-1).tolist())
        assert radius * (1 - 2**-20) - 2 * roundings <= total <= Fraction(radius)


@both_backends
def test_a_step_moves_the_largest_entries_by_equal_shares(backend: str) -> None:
    x = torch.full((4, 4), 0.5)
    grad = torch.tensor(
        [
            [1.0, -3.0, 2.0, 0.0],
            [1.0, -1.0, 1.0, 0.5],
            [0.0, 0.0, -1e-40, 0.0],
            [math.nan, math.inf, 5.0, -1.0],
        ]
    )
    x_adv = x.clone()
    _step(backend)(x_adv, x, grad, torch.tensor(0.25), torch.tensor(1.0), torch.tensor(2.0), 0.0, 1.0)
    third = 0.25 / 3
    expected = [[0, -0.125, 0.125, 0], [third, -third, third, 0], [0, 0, -0.25, 0], [0, 0.125, 0.125, 0]]
    torch.testing.assert_close(x_adv - x, torch.tensor(expected))


@both_backends
def test_entries_at_the_edge_of_the_box_give_way_to_the_next(backend: str) -> None:
    x = torch.tensor([[1.0, 0.0, 0.5, 0.5]])
    x_adv = x.clone()
    grad = torch.tensor([[9.0, -8.0, 1.0, 7.0]])
    _step(backend)(x_adv, x, grad, torch.tensor(0.25), torch.tensor(1.0), torch.tensor(1.0), 0.0, 1.0)
    assert x_adv.tolist() == [[1.0, 0.0, 0.5, 0.75]]


@both_backends
def test_without_a_gradient_nothing_moves(backend: str) -> None:
    x = torch.tensor([[0.25, 0.5]])
    x_adv = torch.tensor([[0.5, 0.5]])
    _step(backend)(
        x_adv, x, torch.zeros(1, 2), torch.tensor(0.25), torch.tensor(1.0), torch.tensor(1.0), 0.0, 1.0
    )
    assert x_adv.tolist() == [[0.5, 0.5]]


@both_backends
@pytest.mark.parametrize(
    ("k", "expected"), [(1.0, 7.0), (2.0, 7.0), (3.9, 3.0), (4.0, 1.0), (9.0, 0.0), (math.nan, 7.0)]
)
def test_the_threshold_is_the_kth_largest_magnitude(backend: str, k: float, expected: float) -> None:
    out = torch.empty(1)
    run = kernels.topk_threshold if backend == "door" else l1_steps_reference.topk_threshold
    run(out, torch.tensor([[3.0, -7.0, 7.0, math.nan, -1.0]]), torch.tensor(k))
    assert out.tolist() == [expected]


@pytest.mark.parametrize("n", [1, 5, 97, 3072])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_thresholds_of_many_values_agree_with_a_sort(n: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(n)
    values = torch.exp(spread * torch.randn(20, n, generator=generator)) * torch.randn(
        20, n, generator=generator
    )
    k = torch.randint(1, n + 1, (20,), generator=generator)
    out = torch.empty(20)
    kernels.topk_threshold(out, values, k.float())
    expected = values.abs().sort(dim=1, descending=True).values.gather(1, k.unsqueeze(1) - 1).squeeze(1)
    assert torch.equal(out, expected)


def test_threads_do_not_change_a_bit() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(5, 3, 70, 70, generator=generator)
    grad = torch.randn(x.shape, generator=generator)
    results: list[Tensor] = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            x_adv = x.clone()
            for _ in range(3):
                kernels.l1_step_(
                    x_adv, x, grad, torch.tensor(5.0), torch.tensor(9.0), torch.tensor(99.0), 0.0, 1.0
                )
            results.append(x_adv)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


X = torch.full((2, 3, 4, 4), 0.5)
REFUSED: dict[str, dict[str, object]] = {
    "x_adv is float64": {"x_adv": X.double()},
    "x has another shape": {"x": X[:1].clone()},
    "grad is int64": {"grad": torch.ones_like(X, dtype=torch.int64)},
    "eps is per channel": {"eps": torch.rand(1, 3)},
    "k is int64": {"k": torch.tensor(3)},
    "k has three elements": {"k": torch.ones(3)},
    "k on another device": {"k": torch.tensor(3.0, device="meta")},
    "low above high": {"low": 1.0, "high": 0.0},
}


def _arguments(**changed: object) -> dict[str, object]:
    arguments: dict[str, object] = {"x_adv": X.clone(), "x": X.clone(), "grad": torch.ones_like(X)}
    arguments |= {
        "alpha": torch.tensor(0.1),
        "eps": torch.tensor(0.2),
        "k": torch.tensor(3.0),
        "low": 0.0,
        "high": 1.0,
    }
    return arguments | changed


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_in_three_parts(case: str) -> None:
    with pytest.raises(InputError) as caught:
        kernels.l1_step_(**_arguments(**REFUSED[case]))  # type: ignore[arg-type]
    assert all((caught.value.seen, caught.value.expected, caught.value.instead))


def test_shared_memory_and_an_unfit_out_are_refused() -> None:
    x = X.clone()
    with pytest.raises(InputError, match="shares memory"):
        kernels.l1_project_(x, x, torch.tensor(1.0), 0.0, 1.0)
    with pytest.raises(InputError, match="shares memory"):
        kernels.topk_threshold(x.reshape(-1)[:2], x, torch.tensor(1.0))
    with pytest.raises(InputError, match=r"out of shape \(3,\)"):
        kernels.topk_threshold(torch.empty(3), x, torch.tensor(1.0))
    with pytest.raises(InputError, match="float64"):
        kernels.topk_threshold(torch.empty(2, dtype=torch.float64), x, torch.tensor(1.0))
    with pytest.raises(InputError, match="floating-point"):
        kernels.topk_threshold(torch.empty(2), x.long(), torch.tensor(1.0))
    for k in (torch.tensor(1.0, device="meta"), torch.tensor(1)):
        with pytest.raises(InputError, match=r"^k "):
            kernels.topk_threshold(torch.empty(2), x, k)


RAW_REFUSED: dict[str, dict[str, object]] = {
    "every tensor has to be float32": {"k": torch.tensor(3)},
    "k has to be contiguous, with 1 element": {"k": torch.rand(6)},
    "1 element or the shape": {"eps": torch.rand(6)},
    "all contiguous": {"x": X.contiguous(memory_format=torch.channels_last)},
    "low <= high": {"low": 1.0, "high": 0.0},
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("message", RAW_REFUSED)
def test_the_compiled_step_checks_for_itself(message: str) -> None:
    arguments = _arguments(**RAW_REFUSED[message])
    with pytest.raises(RuntimeError, match=message):
        torch.ops.harden.l1_step_(*arguments.values())
    assert torch.equal(arguments["x_adv"], X)  # type: ignore[arg-type]


@pytest.mark.usefixtures("native")
def test_the_compiled_projection_and_threshold_check_for_themselves() -> None:
    one, strided = torch.tensor(1.0), torch.stack([X, X], dim=-1)[..., 0]
    with pytest.raises(RuntimeError, match="share memory"):
        torch.ops.harden.l1_project_(X, X, one, 0.0, 1.0)
    for out, values, message in (
        (torch.zeros(3), X, "out, contiguous, the shape"),
        (torch.zeros(4)[::2], X, "out, contiguous, the shape"),
        (torch.zeros(2), strided, "contiguous or channels_last"),
        (X.reshape(-1)[:2], X, "share memory"),
        (torch.zeros(2), X.double(), "float32"),
    ):
        with pytest.raises(RuntimeError, match=message):
            torch.ops.harden.topk_threshold(out, values, one)
    with pytest.raises(RuntimeError, match="k has to be contiguous"):
        torch.ops.harden.topk_threshold(torch.zeros(2), X, torch.ones(3))
