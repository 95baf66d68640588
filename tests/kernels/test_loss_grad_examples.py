"""Losses of logits on chosen rows: ties, saturation, masks, what is not a number; in both backends."""

from __future__ import annotations

import math

import pytest
import torch

from tests.kernels.rows_of_logits import FIELDS, both_backends, every_loss, random_rows, run


@both_backends
@every_loss
def test_what_is_not_a_number_is_reported_and_pushes_nowhere(backend: str, name: str) -> None:
    logits, y, target = random_rows(5, 5, 1)
    clean = run(name, logits, y, target, backend)
    logits[1, 2], y[2], logits[3, y[3]] = math.nan, 7, math.inf
    out = run(name, logits, y, target, backend)
    assert out.loss.isnan().tolist()[:3] == [False, True, True]
    assert out.margin.isnan().tolist() == [False, True, True, False, False]
    assert out.wrong.tolist()[1:4] == [True, True, True]
    assert out.dlogits[1:4].count_nonzero() == 0
    for field in FIELDS:
        assert torch.equal(getattr(out, field)[[0, 4]], getattr(clean, field)[[0, 4]])


@both_backends
def test_masked_classes_leave_the_others_their_gradient(backend: str) -> None:
    """A logit of minus infinity is how some networks leave a class out."""
    logits, y = torch.tensor([[1.0, -math.inf, 0.5, 0.25]]), torch.tensor([0])
    rest = torch.tensor([[1.0, 0.5, 0.25]])
    for name in ("cross-entropy", "margin", "dlr"):
        out, expected = run(name, logits, y, backend=backend), run(name, rest, y, backend=backend)
        torch.testing.assert_close(out.loss, expected.loss)
        torch.testing.assert_close(out.dlogits[:, [0, 2, 3]], expected.dlogits)
        assert float(out.dlogits[0, 1]) == 0.0
        assert float(out.dlogits.abs().sum()) > 0


@both_backends
@pytest.mark.parametrize("gap", [20.0, 60.0, 200.0, 1e4, 3e38])
def test_a_saturated_cross_entropy_has_no_nan_and_keeps_its_balance(backend: str, gap: float) -> None:
    """p_y - 1 in float32 is zero from a gap of 17 on; the sum of the others' probabilities is not."""
    logits = torch.tensor([[gap, 0.0, -1.0], [-gap, 0.0, 0.0]])
    out = run("cross-entropy", logits, torch.tensor([0, 0]), backend=backend)
    assert out.loss[1].item() == pytest.approx(gap + math.log(2))
    assert out.dlogits[1].tolist() == pytest.approx([-1.0, 0.5, 0.5])
    expected = [-math.exp(-gap) - math.exp(-gap - 1), math.exp(-gap), math.exp(-gap - 1)]
    assert out.dlogits[0].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-44)
    assert out.wrong.tolist() == [False, True]


@both_backends
def test_classes_that_tie_share_a_gradient(backend: str) -> None:
    logits, y = torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]]), torch.tensor([0, 1])
    out = run("margin", logits, y, backend=backend)
    assert out.loss.tolist() == [2.0, 0.0]
    third = pytest.approx(1 / 3)
    assert out.dlogits.tolist() == [[-1.0, 0.5, 0.5, 0.0], [third, -1.0, third, third]]
    assert out.wrong.tolist() == [True, True]  # of four equal logits the first is the answer
    for name in ("dlr", "targeted dlr"):
        steep = run(name, logits, y, torch.tensor([1, 0]), backend).dlogits
        assert bool(steep.isfinite().all())
        assert bool((steep[torch.arange(2), y] < 0).all())


def test_one_of_two_equal_logits_is_the_answer() -> None:
    logits = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert run("margin", logits, torch.tensor([0, 1])).wrong.tolist() == [False, True]


@both_backends
def test_one_class_has_no_other(backend: str) -> None:
    logits, y = torch.tensor([[3.0]]), torch.tensor([0])
    cross_entropy, lead = (run(name, logits, y, backend=backend) for name in ("cross-entropy", "margin"))
    assert (cross_entropy.loss.tolist(), cross_entropy.dlogits.tolist()) == ([0.0], [[0.0]])
    assert (lead.loss.tolist(), lead.dlogits.tolist()) == ([-math.inf], [[0.0]])
    assert not bool(lead.wrong)


@both_backends
@pytest.mark.parametrize("gap", [20.0, 60.0, 200.0, 1e4, 3e38])
def test_a_saturated_targeted_cross_entropy_keeps_its_balance(backend: str, gap: float) -> None:
    """1 - p_t in float32 is zero from a gap of 17 on; the sum of the others' probabilities is not."""
    logits, target = torch.tensor([[gap, 0.0, -1.0], [-gap, 0.0, 0.0]]), torch.tensor([0, 0])
    out = run("targeted cross-entropy", logits, torch.tensor([1, 1]), target, backend)
    assert out.loss[1].item() == pytest.approx(-gap - math.log(2))
    assert out.dlogits[1].tolist() == pytest.approx([1.0, -0.5, -0.5])
    expected = [math.exp(-gap) + math.exp(-gap - 1), -math.exp(-gap), -math.exp(-gap - 1)]
    assert out.dlogits[0].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-44)
    assert bool((out.loss <= 0).all())
    assert out.margin.tolist() == [torch.tensor(gap).item(), 0.0]  # of the label, not of the target
    assert out.wrong.tolist() == [True, False]


@both_backends
def test_a_targeted_margin_moves_two_logits_alone(backend: str) -> None:
    logits, y = torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]]), torch.tensor([0, 1])
    out = run("targeted margin", logits, y, torch.tensor([3, 0]), backend)
    assert out.loss.tolist() == [-1.0, 0.0]
    assert out.dlogits.tolist() == [[-1.0, 0.0, 0.0, 1.0], [1.0, -1.0, 0.0, 0.0]]
    assert out.margin.tolist() == [2.0, 0.0]
    assert out.wrong.tolist() == [True, True]  # class 3 is behind, and two others are ahead


@both_backends
@pytest.mark.parametrize("name", ["targeted dlr", "targeted cross-entropy", "targeted margin"])
def test_a_target_that_is_no_class_makes_the_loss_nan_and_not_the_verdict(backend: str, name: str) -> None:
    logits, y, _ = random_rows(3, 5, 1)
    out = run(name, logits, y, torch.tensor([-1, 5, 2**40]), backend)
    assert bool(out.loss.isnan().all())
    assert out.dlogits.count_nonzero() == 0
    plain = run("margin", logits, y, backend=backend)
    assert torch.equal(out.margin, plain.margin)
    assert torch.equal(out.wrong, plain.wrong)


@both_backends
def test_a_class_that_is_left_out_is_reached_by_no_step(backend: str) -> None:
    """A target of minus infinity: infinitely far, and no direction leads there."""
    logits, y, target = torch.tensor([[1.0, -math.inf, 0.5]]), torch.tensor([0]), torch.tensor([1])
    for name in ("targeted cross-entropy", "targeted margin"):
        out = run(name, logits, y, target, backend)
        assert out.loss.tolist() == [-math.inf]
        assert out.dlogits.count_nonzero() == 0
