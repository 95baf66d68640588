"""Attacks with a known outcome, on a line whose distance from every image is known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.trust.probe_attacks import (
    FACTORS,
    HUGE_STEPS,
    STEP_SIZE,
    ProbeInputs,
    ScaledCrossEntropy,
    _largest,
    _rise,
    broken_at_scale,
    broken_at_zero,
    rise_with_eps,
    ties,
    unbroken_at_huge_eps,
)
from harden.losses import Classify, LossFunction
from harden.models import Classifier, PassMeter, counting
from harden.threats import L1, L2, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT = Linf("1/8")
VALUES = (0.2, 0.45, 0.55, 0.8)


def inputs(
    model: Classifier,
    values: tuple[float, ...] = VALUES,
    threat: Threat = THREAT,
    judge: Classify | None = None,
    white_box: bool = True,
) -> ProbeInputs:
    x = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    source = GradientSource(model, judge or model.logits)
    with torch.no_grad():
        logits = source.judge(x)
    source.inspect(logits)
    ids = torch.arange(len(values))
    batch = Batch(x, (x.flatten(1).mean(1) > 0.5).long(), ids)
    return ProbeInputs(source, threat, batch, logits, Draws(5, ids), white_box)


class Constant(nn.Module):
    """Always answers by the mean of the clean images: no attack changes it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2, device="meta").to_empty(device="cpu")
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits + torch.tensor([1.0, 0.0])


# Inputs


def test_part_of_the_inputs_has_the_same_draws_as_the_whole(line: Classifier) -> None:
    whole = inputs(line)
    few = whole.take(torch.tensor([3, 1]))
    assert (len(whole), len(few)) == (4, 2)
    assert few.batch.index.tolist() == [3, 1]
    assert torch.equal(few.batch.x, whole.batch.x[[3, 1]])
    assert torch.equal(few.batch.y, whole.batch.y[[3, 1]])
    assert torch.equal(few.logits, whole.logits[[3, 1]])
    assert torch.equal(few.draws.uniform((2,)), whole.draws.uniform((2,))[[3, 1]])


def test_scores_are_logits_or_the_logarithms_of_probabilities(line: Classifier) -> None:
    assert torch.equal(inputs(line).scores, inputs(line).logits)
    of_probabilities = inputs(line, judge=lambda x: line.logits(x).softmax(1)).scores
    torch.testing.assert_close(
        of_probabilities,
        line.logits(inputs(line).batch.x).detach().double().log_softmax(1),
        atol=1e-6,
        rtol=0,
    )


def test_an_image_is_unbroken_where_the_line_is_out_of_reach(line: Classifier) -> None:
    attack = PGD(10, stop_early=True)
    for white_box in (True, False):
        found = inputs(line, white_box=white_box).unbroken_after(attack, THREAT)
        assert found.tolist() == [True, False, False, True]
    assert inputs(line).unbroken_after(attack, Linf("2/5")).tolist() == [False] * 4
    assert inputs(line).unbroken_after(attack, Linf("1/100")).tolist() == [True] * 4


def test_a_failing_attack_breaks_nothing_and_memory_that_ran_out_is_raised(line: Classifier) -> None:
    errors: dict[type[Exception], Exception] = {
        RuntimeError: RuntimeError("element 0 of tensors does not require grad"),
        InputError: InputError("a", "b", "c"),
    }
    for error in errors.values():

        def failing(classify: Classify, y: Tensor, error: Exception = error) -> LossFunction:
            raise error

        assert inputs(line).unbroken_after(PGD(2), THREAT, failing).tolist() == [True] * 4

    def full(classify: Classify, y: Tensor) -> LossFunction:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        inputs(line).unbroken_after(PGD(2), THREAT, full)


def test_results_are_projected_and_what_is_outside_all_the_same_breaks_nothing(line: Classifier) -> None:
    class Far:
        """In place of PGD: 9 brighter, which no ball contains."""

        steps = 1

        def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
            return x + 9

    class Loose:
        """A threat whose projection does nothing."""

        eps, bounds, name = THREAT.eps, THREAT.bounds, THREAT.name
        contains = staticmethod(THREAT.contains)

        def project_(self, x_adv: Tensor, x: Tensor) -> None:
            """Do nothing."""

    far = cast(PGD, Far())
    assert inputs(line).unbroken_after(far, THREAT).tolist() == [True, False, True, True]
    assert inputs(line).unbroken_after(far, cast(Threat, Loose())).tolist() == [True] * 4


def test_the_images_stay_as_they_are(line: Classifier) -> None:
    given_inputs = inputs(line)
    before = given_inputs.batch.x.clone()
    given_inputs.unbroken_after(PGD(3), THREAT)
    unbroken_at_huge_eps(given_inputs)
    assert torch.equal(given_inputs.batch.x, before)


# Huge eps


@pytest.mark.parametrize("threat", [Linf("1/100"), L2("1/100"), L1("1/100")], ids=repr)
def test_at_a_huge_eps_every_image_of_a_line_is_broken_whatever_the_eps(
    line: Classifier, threat: Threat
) -> None:
    assert unbroken_at_huge_eps(inputs(line, threat=threat)) == 0


def test_a_constant_answer_is_never_broken_at_what_is_written() -> None:
    model = Classifier(Constant())
    given_inputs = inputs(model, (0.1, 0.2, 0.3))
    with counting(PassMeter()) as meter:
        assert unbroken_at_huge_eps(given_inputs) == 3
    # Twice 20 steps, and a forward of the judge for each; the fast copy compares a few images first.
    assert meter.passes / 3 == pytest.approx(2 * HUGE_STEPS + 4 / 3, abs=1)


@pytest.mark.parametrize(
    ("threat", "expected"),
    [
        (Linf("1/100"), 1.0),
        (L2("1/100"), 2.0),
        (L1("1/100"), 4.0),
        (Linf("1/100", bounds=(0.0, 0.5)), 0.5),
        (L1("1/100", bounds=(-1.0, 1.0)), 8.0),
    ],
    ids=repr,
)
def test_the_largest_ball_reaches_from_corner_to_corner(
    line: Classifier, threat: Threat, expected: float
) -> None:
    """Images of 4 pixels: the diagonal of the box is 1, 2 or 4 times its side."""
    found = _largest(inputs(line, threat=threat))
    assert isinstance(found, Fraction)
    assert float(found) == expected
    x = torch.zeros(1, 1, 2, 2)
    huge = threat.scaled(found / threat.eps)
    low, high = threat.bounds
    assert bool(huge.contains(x + high, x + low).all())
    assert HUGE_STEPS * STEP_SIZE >= 2


# Eps and its multiples


def test_accuracy_of_a_line_falls_with_eps(line: Classifier) -> None:
    assert [float(factor) for factor in FACTORS] == [0.5, 1.0, 2.0]
    # At 1/16, 1/8 and 1/4 of 0.3 0.4 0.45 0.7: unbroken are 3, 2 and 0.
    assert rise_with_eps(inputs(line, (0.3, 0.4, 0.45, 0.7))) < 0
    # An eps beyond the box has no double.
    assert rise_with_eps(inputs(line, threat=Linf(1))) <= 0


def test_an_attack_that_fails_at_a_larger_eps_is_noticed(line: Classifier) -> None:
    def forgiving(x: Tensor) -> Tensor:
        """A move of more than 1/10 is taken back."""
        far = (x - 0.49).abs().flatten(1).amax(1, keepdim=True) > 0.1
        return torch.where(far, torch.tensor([1.0, 0.0]), line.logits(x))

    found = rise_with_eps(replace(inputs(line, (0.49,) * 5, Linf("1/16"), forgiving), white_box=True))
    assert 0 <= found <= 5


@given(st.lists(st.integers(0, 9), max_size=6))
def test_a_rise_is_the_largest_difference_of_a_later_and_an_earlier_count(counts: list[int]) -> None:
    pairs = [counts[later] - counts[earlier] for later in range(len(counts)) for earlier in range(later)]
    assert _rise(counts) == max(pairs, default=0)


# Eps 0, scale, ties


def test_nothing_is_broken_at_eps_0(line: Classifier) -> None:
    with counting(PassMeter()) as meter:
        assert broken_at_zero(inputs(line), 1e-6) == 0
    assert meter.passes > 0


def test_an_answer_by_the_turn_is_broken_at_eps_0_except_at_a_tie(line: Classifier) -> None:
    turns: list[int] = []

    def by_turns(x: Tensor) -> Tensor:
        turns.append(len(x))
        return line.logits(x) if len(turns) == 1 else -line.logits(x)

    ready = inputs(line)
    for rounding, expected in ((0.0, 4), (10.0, 0)):
        turns.clear()
        source = GradientSource(line, by_turns)
        assert broken_at_zero(replace(ready, gradient_source=source), rounding) == expected


def test_scale_does_not_hide_what_is_broken(line: Classifier) -> None:
    """With logits a million times larger the softmax is saturated, and divided by the margin it is not."""
    assert broken_at_scale(inputs(line)) == 2

    def huge(x: Tensor) -> Tensor:
        return 1e6 * line.logits(x)

    assert broken_at_scale(inputs(Classifier(_Scaled(line.network)), judge=huge)) == 2


class _Scaled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 1e6 * self.inner(x)
        return logits


@pytest.mark.parametrize("logits", [torch.zeros(4, 2), torch.full((4, 2), torch.nan)])
def test_margins_of_0_or_no_number_leave_the_scale_as_it_is(line: Classifier, logits: Tensor) -> None:
    assert broken_at_scale(replace(inputs(line), logits=logits)) == 2


@given(st.floats(0.125, 8), st.integers(0, 2))
def test_the_scaled_loss_is_the_cross_entropy_of_the_quotient(scale: float, label: int) -> None:
    z = torch.tensor([[0.5, -2.0, 3.0]])
    loss = ScaledCrossEntropy(scale)(lambda x: x, torch.tensor([label]))
    expected = -(z.double() / scale).log_softmax(1)[0, label]
    torch.testing.assert_close(loss(z).double()[0], expected, atol=1e-5, rtol=1e-5)


def test_a_tie_is_a_small_share_of_the_largest_logit() -> None:
    rows = [[1.0, 0.5, 0.0], [1.0, 1.0, 0.0], [-4.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert ties(torch.tensor(rows), 0.25).tolist() == [False, True, True, True]
    # At equality they tie.
    assert ties(torch.tensor([[1.0, 0.5]]), 0.5).tolist() == [True]
    assert ties(torch.tensor([[1.0, 0.5]]), 0.49).tolist() == [False]
