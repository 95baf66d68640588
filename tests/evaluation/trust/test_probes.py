"""What the probes do at the edges: few images, no gradient, no number; no side effects; what they cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.data import Batch, Splits
from harden.draws import Draws
from harden.evaluation import Attempt, TrustCheck, evaluate, pgd_suite
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.trust.probe_attacks import ScaledCrossEntropy, _rise, ties
from harden.evaluation.trust.probes import (
    PASSES,
    PROBED,
    logit_scale_check,
    probe_checks,
    rounding,
    saturated,
)
from harden.losses import LossFunction
from harden.models import Classifier, PassMeter, counting, frozen
from harden.threats import L1, L2, Linf, Threat

THREAT = Linf("0.1")
SUITE = pgd_suite(steps=3, restarts=1)
NAMES = {
    "randomised output",
    "batch composition",
    "softmax saturation",
    "unstable predictions",
    "eps zero",
    "huge eps",
    "non-monotone curve",
    "gradient fidelity",
    "logit steps",
    "distinct logits",
}


class Network(nn.Module):
    """z = f(x), with a head that can be found."""

    def __init__(self, function: LossFunction) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def batch_of(digits: Splits, n: int) -> Batch:
    return Batch(digits.test.x[:n], digits.test.y[:n], torch.arange(n))


def probe(
    model: Classifier, batch: Batch, threat: Threat = THREAT, seed: int = 0, judge: LossFunction | None = None
) -> dict[str, TrustCheck]:
    with frozen(model):
        checks = probe_checks(GradientSource(model, judge or model.logits), threat, batch, seed)
    assert {check.name for check in checks} == NAMES
    return {check.name: check for check in checks}


def fired(checks: dict[str, TrustCheck]) -> set[str]:
    return {name for name, check in checks.items() if not check.passed}


def grey(*values: float) -> Batch:
    x = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    return Batch(x, (x.flatten(1).mean(1) > 0.5).long(), torch.arange(len(values)))


def towards_zero(x: Tensor) -> Tensor:
    total = x.flatten(1).sum(1) - 2
    return torch.stack((-total, total), 1)


# What it is part of


def test_an_evaluation_has_the_probes_of_its_first_batch(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:60], digits.test.y[:60])
    with counting(PassMeter()) as around:
        found = evaluate(plain, data, THREAT, SUITE, batch_size=20, seed=3)
    without = evaluate_unchecked(plain, data, THREAT, SUITE, batch_size=20, seed=3)
    with counting(PassMeter()) as alone:
        checks = probe(plain, batch_of(digits, 20), seed=3)
    assert found.checks[: len(without.checks)] == without.checks
    assert {check.name: check for check in found.checks if check.name in checks} == checks
    given = len(without.attempts)
    assert bool((without.broken <= found.broken).all())
    assert [record.passes for record in found.attempts[:given]] == [one.passes for one in without.attempts]
    # In addition: a forward and backward that checks for a gradient, and the closing attempts.
    more = 1 + sum(record.passes for record in found.attempts[given:])
    first = batch_of(digits, 20)
    by = found.broken_by[:20]
    right = plain.logits(first.x).argmax(1) == first.y
    with frozen(plain), counting(PassMeter()) as scale:
        check = logit_scale_check(
            GradientSource(plain, plain.logits), THREAT, first, right, (by < 0) | (by >= given), 3
        )
    assert found.checks[-1] == check
    more += scale.passes
    assert found.passes == pytest.approx(without.passes + alone.passes + more) == around.passes


@pytest.mark.usefixtures("rng_untouched")
def test_the_model_and_the_images_stay_as_they_are_and_the_seed_decides(
    plain: Classifier, digits: Splits
) -> None:
    batch, before = batch_of(digits, 30), {k: v.clone() for k, v in plain.state_dict().items()}
    x = batch.x.clone()
    one, same = probe(plain, batch, seed=1), probe(plain, batch, seed=1)
    assert one == same
    assert torch.equal(batch.x, x)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert all(weight.grad is None for weight in plain.parameters())


def test_no_more_than_the_first_images_are_probed(digits: Splits) -> None:
    seen: list[int] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(len(x))
        return towards_zero(x)

    probe(Classifier(Network(watched)), grey(*torch.linspace(0.05, 0.95, 200).tolist()))
    assert max(seen) == PROBED


# What it costs


@pytest.mark.parametrize("denied", [False, True])
def test_an_image_that_stands_costs_what_is_written(plain: Classifier, digits: Splits, denied: bool) -> None:
    """The judge always says 3. A network that agrees claims nothing; another is denied at every step."""
    batch, three = batch_of(digits, 100), torch.eye(10)[3]
    agreeing = Classifier(Network(lambda x: three * (1 + x.flatten(1).sum(1, keepdim=True))))
    network = plain if denied else agreeing

    def judge(x: Tensor) -> Tensor:
        return 0 * network.logits(x) + three

    threes = Batch(batch.x, torch.full_like(batch.y, 3), batch.index)
    with counting(PassMeter()) as meter:
        checks = probe(network, threes, judge=judge)
    assert checks["huge eps"].value == pytest.approx(0.9)
    # A judge that is not the network itself costs 1 pass more, and four images are evaluated alone.
    each = meter.passes / 100 - 1 - 2 * 4 / 300
    least = 77
    assert each == pytest.approx(least) if not denied else least < each <= least + 33
    assert least + 11 < PASSES


# Edges


@pytest.mark.parametrize("threat", [Linf("0.1"), L2("0.2"), L1("0.4"), Linf("1"), Linf("0.7")], ids=repr)
def test_two_classes_and_any_norm_raise_no_flag(line: Classifier, threat: Threat) -> None:
    assert fired(probe(line, grey(0.1, 0.45, 0.55, 0.9, 0.3, 0.8), threat)) == set()
    assert fired(probe(line, grey(0.3), threat)) == set()


def test_all_images_wrong_is_said(line: Classifier) -> None:
    batch = grey(0.1, 0.9, 0.4)
    checks = probe(line, Batch(batch.x, 1 - batch.y, batch.index))
    assert fired(checks) == set()
    said = {name for name, check in checks.items() if "not probed: none of the first images" in check.meaning}
    of_all = {"randomised output", "batch composition", "gradient fidelity", "logit steps", "distinct logits"}
    assert said == NAMES - of_all


def test_at_eps_zero_nothing_is_attacked(line: Classifier) -> None:
    with counting(PassMeter()) as meter:
        checks = probe(line, grey(0.1, 0.45, 0.55, 0.9), Linf(0))
    assert fired(checks) == set()
    assert meter.passes < 4 * 6


def test_what_is_no_number_is_counted_and_never_raised() -> None:
    def partly(x: Tensor) -> Tensor:
        z = towards_zero(x)
        return torch.where(x.flatten(1).amax(1, keepdim=True) < 0.2, torch.full_like(z, torch.nan), z)

    for function in (partly, lambda x: towards_zero(x) * torch.nan, lambda x: towards_zero(x) * torch.inf):
        checks = probe(Classifier(Network(function)), grey(0.1, 0.3, 0.8))
        assert fired(checks) <= {"huge eps"}
        assert all(check.value == check.value for check in checks.values())


def test_a_network_without_any_gradient_is_evaluated_and_flagged(plain: Classifier, digits: Splits) -> None:
    def noise(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return x + 0.1 * draws.normal(tuple(x.shape[1:])).sign()

    blind = Classifier(Network(lambda x: plain.network(x.detach())))
    found = evaluate(blind, (digits.test.x[:20], digits.test.y[:20]), THREAT, [Attempt("blind", noise)])
    checks = {check.name: check for check in found.checks}
    assert found.status == "unreliable"
    assert checks["huge eps"].value == pytest.approx(0.9)


def test_a_network_that_takes_no_single_image_depends_on_the_batch() -> None:
    def squeezed(x: Tensor) -> Tensor:
        if len(x) == 1:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return towards_zero(x)

    assert "batch composition" in fired(probe(Classifier(Network(squeezed)), grey(0.1, 0.3, 0.8)))


def test_a_judge_that_answers_by_chance_or_by_the_batch_is_flagged(line: Classifier) -> None:
    generator = torch.Generator().manual_seed(0)

    def chance(x: Tensor) -> Tensor:
        return line.logits(x) + 1e-3 * torch.randn(len(x), 2, generator=generator)

    def by_neighbours(x: Tensor) -> Tensor:
        return line.logits(x) - line.logits(x).mean(0)

    batch = grey(0.1, 0.45, 0.55, 0.9)
    assert "randomised output" in fired(probe(line, batch, judge=chance))
    assert "batch composition" in fired(probe(line, batch, judge=by_neighbours))
    assert probe(line, batch, judge=by_neighbours)["randomised output"].passed


def test_a_judge_that_steps_between_pixel_values_is_unstable(line: Classifier) -> None:
    def stepped(x: Tensor) -> Tensor:
        return line.logits(x) * torch.cos((x.flatten(1)[:, :1] - 0.25) * 2**14 * torch.pi)

    assert "unstable predictions" in fired(probe(line, grey(*[0.25] * 40), judge=stepped))
    one = grey(*[0.4] * 38, 0.4999999, 0.5000001)
    assert probe(line, one)["unstable predictions"].value == 0, "a near tie or two is chance"


def test_noise_that_is_drawn_from_the_image_is_unstable(line: Classifier) -> None:
    """The same image gets the same logits, and the smallest change others: no gradient follows them."""
    batch = grey(*[0.1] * 20, *[0.9] * 20)

    def noisy(size: float) -> LossFunction:
        def judge(x: Tensor) -> Tensor:
            drawn = torch.cos(x.flatten(1).double().sum(1, keepdim=True) * 1e9).float()
            return line.logits(x) + size * drawn * torch.tensor([1.0, -1.0])

        return judge

    with torch.no_grad():
        logits = line.logits(batch.x)
    scale = float((logits[:, 0] - logits[:, 1]).abs().mean())
    assert "unstable predictions" in fired(probe(line, batch, judge=noisy(0.1 * scale)))
    assert "unstable predictions" not in fired(probe(line, batch, judge=noisy(1e-4 * scale)))
    assert "unstable predictions" not in fired(probe(line, batch))


def test_an_attack_that_fails_at_larger_eps_makes_the_curve_rise(line: Classifier) -> None:
    """A judge who takes large moves for what they are not: accuracy under attack rises with eps."""
    batch = grey(*[0.49] * 20)

    def forgiving(x: Tensor) -> Tensor:
        far = (x - 0.49).abs().flatten(1).amax(1, keepdim=True) > 0.04
        return torch.where(far, torch.tensor([1.0, 0.0]), line.logits(x))

    def steps(x: Tensor) -> Tensor:
        return 0 * x.sum((1, 2, 3)).view(-1, 1) + torch.tensor([1.0, 0.0]) + 1e-9 * line.logits(x)

    # Only starts near the image break it, which the copy does not claim: its last point is what is judged.
    checks = probe(Classifier(Network(steps)), batch, Linf("0.06"), judge=forgiving)
    assert checks["non-monotone curve"].value > 0.5


# Parts


def test_parts_worked_out_by_hand() -> None:
    assert [_rise(counts) for counts in ([9, 5, 1], [3, 7, 6], [5, 2, 6], [4])] == [-4, 4, 4, 0]
    logits = torch.tensor([[0.0, 88.0], [0.0, 87.0], [90.0, 0.0]])
    assert saturated(logits, torch.tensor([1, 1, 1])).tolist() == [True, False, False]
    assert ties(torch.tensor([[1.0, 0.9995], [1.0, 0.9]]), 1e-3).tolist() == [True, False]
    loss = ScaledCrossEntropy(4.0)(lambda x: x.flatten(1), torch.tensor([0]))
    assert float(loss(torch.tensor([[4.0, 0.0]]))) == pytest.approx(0.31326, abs=1e-4)


def test_rounding_follows_the_networks_own_type(line: Classifier) -> None:
    assert rounding(line) == (64 * 2.0**-23, 1e-3)
    half = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).bfloat16())
    assert rounding(half)[1] == 0.5
