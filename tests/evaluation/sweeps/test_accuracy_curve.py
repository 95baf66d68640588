from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Splits
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import Attempt, EvaluationProgress, TrustCheck, accuracy_curve, evaluate, pgd_suite
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.sweeps.accuracy_curve import FACTORS
from harden.evaluation.trust.probe_texts import Probe
from harden.losses import Classify, LossFunction
from harden.models import Classifier
from harden.threats import L2, Linf, Threat

SUITE = pgd_suite(steps=5, restarts=1)
CHECKS = {
    "ball and box",
    "zero gradients",
    "finite gradients",
    "complete optimisation",
    "black box beats white box",
    "independent attacks",
    "one step beats many",
    "noise beats the attacks",
    *(probe.value for probe in Probe),
}
ATTEMPT = Attempt("pgd", PGD(steps=5))
THREAT = Linf("0.1")


def grey(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


# The curve


def still(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    return x.clone()


STILL = Attempt("still", still)


def curve_of(
    model: Classifier,
    data: tuple[Tensor, Tensor],
    threat: Threat,
    attempt: Attempt,
    factors: Sequence[Fraction] = FACTORS,
    judge: Classify | None = None,
) -> tuple[list[Fraction], list[int]]:
    """The curve's eps and counts, with an evaluation with the same attempt."""
    known = evaluate(model, data, threat, [attempt], judge=judge)
    curve = accuracy_curve(model, data, known, attempt, factors, judge=judge, batch_size=33)
    assert all(accuracy.n == len(data[0]) for _, accuracy in curve.points)
    assert curve.found.robust.count == dict(curve.points)[threat].count
    return [at.eps for at, _ in curve.points], [accuracy.count for _, accuracy in curve.points]


@pytest.mark.parametrize("threat", [Linf("0.1"), L2("0.4")], ids=repr)
def test_the_curve_starts_at_clean_and_never_rises(plain: Classifier, digits: Splits, threat: Threat) -> None:
    data = (digits.test.x[:100], digits.test.y[:100])
    eps, counts = curve_of(plain, data, threat, ATTEMPT)
    assert eps == [0, *(threat.eps * factor for factor in FACTORS)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == evaluate(plain, data, threat, SUITE).clean.count
    assert counts[-1] < counts[0] // 2


def test_the_curve_passes_through_what_an_evaluation_found(line: Classifier) -> None:
    """A strong evaluation with a weak curve: its witnesses count from their eps on, and not before."""
    x, y = grey(0.4, 0.45, 0.55, 0.6, 0.9), torch.tensor([0, 0, 1, 1, 1])
    found = evaluate(line, (x, y), THREAT, [Attempt("pgd", PGD())])
    assert 0 < int(found.broken.sum()) < len(x)
    curve = accuracy_curve(line, (x, y), found, STILL, [Fraction(1, 2), Fraction(2)], batch_size=2)
    counts = [accuracy.count for _, accuracy in curve.points]
    assert counts == [found.clean.count, found.clean.count, found.robust.count, found.robust.count]
    assert torch.equal(curve.found.broken, found.broken)


def test_the_curve_tells_how_far_it_is(line: Classifier) -> None:
    x, y = grey(0.4, 0.45, 0.55, 0.6, 0.9), torch.tensor([0, 0, 1, 1, 1])
    found = evaluate(line, (x, y), THREAT, [Attempt("pgd", PGD())])
    reported: list[EvaluationProgress] = []
    curve = accuracy_curve(line, (x, y), found, ATTEMPT, batch_size=4, on_batch=reported.append)
    assert [(at.done, at.total) for at in reported] == [(4, 5), (5, 5)]
    assert reported[-1].robust == curve.found.robust.value
    assert 0 < reported[0].passes < reported[1].passes


def test_what_the_curve_finds_at_a_smaller_eps_counts_in_the_headline(line: Classifier) -> None:
    """A weak evaluation with a strong curve: robust accuracy is the union of both, with every witness."""
    x, y = grey(0.47, 0.42, 0.53, 0.9), torch.tensor([0, 0, 1, 1])
    found = evaluate_unchecked(line, (x, y), THREAT, [STILL])
    assert found.robust.count == 4
    pgd = Attempt("pgd", PGD())
    curve = accuracy_curve(line, (x, y), found, pgd, [Fraction(1, 2), Fraction(3, 2)], batch_size=3)
    assert [accuracy.count for _, accuracy in curve.points] == [4, 2, 2, 1]
    union = curve.found
    assert union.broken.tolist() == [True, False, True, False]
    assert union.robust.count == 2
    assert union.witnesses.index.tolist() == [0, 2]
    assert bool((union.witnesses.prediction != union.witnesses.label).all())
    assert bool(THREAT.contains(union.witnesses.witness, union.witnesses.original).all())
    last = union.attempts[-1]
    assert (last.attempted, last.broken, last.robust.count) == (4, 2, 2)
    assert last.passes > 0
    assert found.robust.count == 4, "the evaluation that was given is a value and stays as it is"


def test_the_curve_never_rises_even_if_the_attack_gets_worse(line: Classifier) -> None:
    def timid(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return x + 0.06 if threat.eps < Fraction(1, 10) else x

    _, counts = curve_of(line, (grey(0.45, 0.3), torch.tensor([0, 0])), THREAT, Attempt("t", timid))
    assert counts == [2, 2, 2, 1, 1, 1, 1]  # 0.45 falls at eps 0.075 and stays fallen


def test_each_point_of_the_curve_is_exact_on_a_line(line: Classifier) -> None:
    # Greys at distance 0.01, 0.03, 0.06, 0.12, 0.17 and 0.4 of the threshold.
    data = grey(0.49, 0.47, 0.56, 0.38, 0.67, 0.9), torch.tensor([0, 0, 1, 0, 1, 1])
    factors = [Fraction(1, 5), Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(2)]
    _, counts = curve_of(line, data, THREAT, Attempt("pgd", PGD(random_start=False)), factors)
    assert counts == [6, 5, 4, 3, 2, 1]


def test_budgets_beyond_the_box_are_left_out_for_linf_alone(line: Classifier) -> None:
    data = (grey(0.2, 0.9), torch.tensor([0, 1]))
    at, _ = curve_of(line, data, Linf("0.6"), ATTEMPT)
    assert at == [0, *(Fraction(3, 5) * factor for factor in FACTORS if factor <= Fraction(5, 3))]
    assert max(at) == Fraction(9, 10)
    assert len(curve_of(line, data, L2("0.6"), ATTEMPT)[0]) == 1 + len(FACTORS)


def test_the_curve_does_not_believe_its_attack(line: Classifier) -> None:
    x, y = grey(0.3, 0.7), torch.tensor([0, 1])
    factors = [Fraction(1, 2), Fraction(3, 2)]

    def count(make: Tensor | float) -> list[int]:
        def lie(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
            x.add_(100)
            return torch.zeros_like(x).double() + make

        return curve_of(line, (x, y), THREAT, Attempt("lie", lie), factors)[1]

    for make in (0.0, 1.0, torch.nan, torch.inf):
        assert count(make) == [2, 2, 2, 2]
    assert torch.equal(x, grey(0.3, 0.7))


def test_the_curves_judge_decides(line: Classifier) -> None:
    data = (grey(0.45, 0.9), torch.tensor([0, 1]))

    def lenient(x: Tensor) -> Tensor:
        logits = line.logits(x)
        return logits - torch.tensor([0.0, 1.0])  # the threshold is at 0.75

    factors = [Fraction(3, 4), Fraction(1)]
    assert curve_of(line, data, THREAT, ATTEMPT, factors, lenient)[1] == [2, 2, 2]
    assert curve_of(line, data, THREAT, ATTEMPT, factors)[1] == [2, 1, 1]


def test_the_curve_leaves_the_model_as_it_was_and_refuses_unfit_data(
    line: Classifier,
) -> None:
    line.train()
    known = evaluate(line, (grey(0.2, 0.9), torch.tensor([0, 1])), THREAT, [STILL])
    accuracy_curve(line, (grey(0.2, 0.9), torch.tensor([0, 1])), known, ATTEMPT)
    assert all(part.training for part in line.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in line.parameters())
    with pytest.raises(InputError, match="2 logits"):
        accuracy_curve(line, (grey(0.2, 0.9), torch.tensor([0, 2])), known, ATTEMPT)


# Trust checks


class Quantised(nn.Module):
    """Rounds pixels to `levels` steps before the network looks: no gradient gets through."""

    def __init__(self, network: nn.Module, levels: int) -> None:
        super().__init__()
        self.network = network
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x * self.levels).round() / self.levels)
        return logits


class Detached(Quantised):
    """Goes through numpy, as wrappers of other runtimes do."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(torch.from_numpy(x.detach().numpy()))
        return logits


def test_masked_gradients_make_the_number_unreliable(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:150], digits.test.y[:150])
    honest = evaluate(plain, data, THREAT, SUITE)
    masked = evaluate(Classifier(Quantised(plain.network, 8)), data, THREAT, SUITE)
    # The trap: rounding looks robust, because the attack is blind.
    assert masked.robust.count > honest.robust.count
    assert masked.status == "unreliable"
    fired = [check for check in masked.checks if not check.passed]
    # Noise breaks what the blind attack left, and pixels of the data lie on the thresholds of the rounding.
    expected = ["zero gradients", "noise beats the attacks", "unstable predictions", "huge eps"]
    assert [check.name for check in fired] == [*expected, "gradient fidelity"]
    assert fired[0].value == 1.0
    assert "quantisation" in fired[0].action


def test_plain_and_hardened_networks_are_trusted(
    plain: Classifier, hardened: Classifier, digits: Splits
) -> None:
    for model in (plain, hardened):
        found = evaluate(model, (digits.test.x, digits.test.y), THREAT, pgd_suite(20, 1))
        assert found.status == "ok", [check for check in found.checks if not check.passed]
        assert all(check.passed for check in found.checks)
        assert {check.name for check in found.checks} == CHECKS


def test_a_model_without_any_gradient_can_be_attacked_without_and_is_flagged(
    plain: Classifier, digits: Splits
) -> None:
    def noise(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return x + 0.1 * draws.normal(tuple(x.shape[1:])).sign()

    data = (digits.test.x[:50], digits.test.y[:50])
    model = Classifier(Detached(plain.network, 0))
    found = evaluate(model, data, THREAT, [Attempt("blind", noise)])
    assert found.clean == evaluate(plain, data, THREAT, SUITE).clean
    assert found.status == "unreliable"
    with pytest.raises(InputError, match="gradient-free"):
        evaluate(model, data, THREAT, SUITE)


def test_a_few_images_without_gradient_are_tolerated_up_to_the_threshold() -> None:
    class Partly(nn.Module):
        """Saturates for images darker than 0.1."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            total = x.flatten(1).sum(1).clamp(min=0.4) - 2
            return torch.stack((-total, total), 1)

    model = Classifier(Partly())
    y = torch.zeros(40, dtype=torch.int64)
    for dark, status in ((0, "ok"), (2, "ok"), (3, "unreliable"), (40, "unreliable")):
        x = grey(*[0.05] * dark, *[0.2] * (40 - dark))
        found = evaluate(model, (x, y), THREAT, SUITE, batch_size=7)
        (check,) = (check for check in found.checks if check.name == "zero gradients")
        assert check.value == pytest.approx(dark / 40)
        assert found.status == status


def test_a_gradient_that_is_not_finite_counts_as_none() -> None:
    class Infinite(nn.Module):
        """The derivative of sqrt at 0 is infinite."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            total = x.flatten(1).sum(1)
            return torch.stack((1 - total.sqrt(), total.sqrt()), 1)

    x, y = torch.zeros(10, 1, 2, 2), torch.zeros(10, dtype=torch.int64)
    found = evaluate(Classifier(Infinite()), (x, y), Linf("0.01"), SUITE)
    assert found.clean.count == 10
    assert found.status == "unreliable"


def test_gradients_that_are_not_finite_on_the_way_are_counted_and_reported() -> None:
    class Rooted(nn.Module):
        """Fine at the clean image; a pixel below 1/2 has a gradient of infinity times 0."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            above = x.flatten(1) - 0.5
            total = (above * (above > 0)).sqrt().sum(1)
            return torch.stack((total + 0.1, 0 * total), 1)

    data = (torch.full((10, 1, 2, 2), 0.55), torch.zeros(10, dtype=torch.int64))
    for eps, met in (("0.01", False), ("0.2", True)):
        found = evaluate(Classifier(Rooted()), data, Linf(eps), SUITE)
        checks = {check.name: check for check in found.checks}
        assert checks["zero gradients"].passed
        assert (checks["finite gradients"].value > 0.5) == met == (not checks["finite gradients"].passed)
        # The probe at a huge eps has met such gradients in any case; it fires, for one class is answered.
        assert not checks["huge eps"].passed


def test_a_projection_that_fails_is_seen() -> None:
    class Broken:
        """A user's threat whose projection does nothing."""

        name, eps, bounds = "linf", Fraction(1, 10), (0.0, 1.0)
        honest = Linf("0.1")

        def size(self, delta: Tensor) -> Tensor:
            return self.honest.size(delta)

        def start(self, x: Tensor, draws: Draws) -> Tensor:
            return x

        def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
            x_adv.add_(1.0)

        def project_(self, x_adv: Tensor, x: Tensor) -> None:
            pass

        def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
            return self.honest.contains(x_adv, x)

        def scaled(self, factor: object) -> Broken:
            return self

    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    weights = {"1.weight": torch.tensor([[0.0] * 4, [1.0] * 4]), "1.bias": torch.tensor([0.0, -2.0])}
    network.load_state_dict(weights)
    found = evaluate(
        Classifier(network),
        (grey(0.1, 0.2), torch.tensor([0, 0])),
        Broken(),
        [Attempt("pgd", PGD(steps=1, keep_best=False))],
    )
    assert not found.broken.any()
    assert found.status == "unreliable"
    fired = {check.name: check.value for check in found.checks if not check.passed}
    # Two images, and each was moved by the attempt and by the three that close an evaluation. An attack whose
    # results don't count breaks nothing at a huge eps either.
    assert fired == {"ball and box": 8.0, "huge eps": 0.5}


def test_a_check_passes_up_to_its_threshold() -> None:
    assert TrustCheck("a", 0.05, 0.05, "", "").passed
    assert not TrustCheck("a", 0.0501, 0.05, "", "").passed
    assert not TrustCheck("a", float("nan"), 0.05, "", "").passed
