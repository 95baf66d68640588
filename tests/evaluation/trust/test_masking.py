"""Defences that mask gradients, each of which has to be flagged by the check that was made for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import APGD, FAB, MIFGSM, PGD, Attack, Targeted
from harden.data import Splits
from harden.evaluation import Attempt, Evaluation, evaluate, pgd_suite
from harden.evaluation.attempt import MakeLoss
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.losses import DLR, EOT, CrossEntropy, Margin
from harden.models import Classifier
from harden.threats import L1, L2, Linf, Threat

SUITE = pgd_suite(steps=5, restarts=1)
THREAT = Linf("0.1")


class Defended(nn.Module):
    """A network with something done to its images before, and to its logits after it."""

    def __init__(
        self,
        network: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def quantised(x: Tensor) -> Tensor:
    return (x * 16).round() / 16


def dropped(x: Tensor) -> Tensor:
    return functional.dropout(x, 0.2, training=True)


def clamped(x: Tensor) -> Tensor:
    """Black or white, by a clamp so steep that nearly every pixel lies where it is flat."""
    return (1e4 * (x - 0.47)).clamp(0, 1)


def by_cosines(x: Tensor) -> Tensor:
    """Each 8 x 8 image's cosine transform, rounded as JPEG does, and back."""
    places = torch.arange(8, dtype=torch.float32)
    basis = torch.cos(math.pi / 8 * (places + 0.5) * places.view(-1, 1)) / 2
    basis[0] /= math.sqrt(2)
    coefficients = (basis @ (255 * x - 128) @ basis.T / 16).round() * 16
    return ((basis.T @ coefficients @ basis + 128) / 255).clamp(0, 1)


def normalised(x: Tensor) -> Tensor:
    """By mean and deviation of the batch."""
    return (x - x.mean((0, 2, 3), keepdim=True)) / (x.std((0, 2, 3), keepdim=True) + 1e-3) * 0.38 + 0.31


def evaluated(
    model: Classifier,
    digits: Splits,
    threat: Threat = THREAT,
    seed: int = 0,
    attempts: Sequence[Attempt] = SUITE,
) -> Evaluation:
    return evaluate(model, (digits.test.x[:150], digits.test.y[:150]), threat, attempts, seed=seed)


def fired(found: Evaluation) -> set[str]:
    return {check.name for check in found.checks if not check.passed}


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (quantised, {"zero gradients", "huge eps"}),
        (dropped, {"randomised output"}),
        (clamped, {"zero gradients", "huge eps"}),
        (by_cosines, {"zero gradients", "huge eps"}),
        (normalised, {"batch composition"}),
    ],
)
def test_a_defence_before_the_network_is_flagged_by_the_check_that_is_made_for_it(
    plain: Classifier, digits: Splits, before: Callable[[Tensor], Tensor], expected: set[str]
) -> None:
    with torch.random.fork_rng():  # dropout draws
        torch.manual_seed(0)
        found = evaluated(Classifier(Defended(plain.network, before)), digits)
    assert found.clean.value > 0.5, "the defence leaves a classifier"
    assert found.status == "unreliable"
    assert expected <= fired(found)


def test_a_temperature_is_flagged_by_saturation_and_by_scale(plain: Classifier, digits: Splits) -> None:
    """By scale where the attempts are misled: those on the margin are not."""
    model = Classifier(Defended(plain.network, after=lambda z: 1000 * z))
    found = evaluated(model, digits)
    assert fired(found) == {"softmax saturation"}
    misled = evaluated(model, digits, attempts=[Attempt("pgd-ce", PGD(steps=5), CrossEntropy)])
    checks = {check.name: check for check in misled.checks}
    assert {"softmax saturation", "logit scale"} <= fired(misled)
    assert checks["softmax saturation"].value > 0.9
    assert checks["logit scale"].value > 0.2


def test_a_temperature_before_a_softmax_is_flagged_too(plain: Classifier, digits: Splits) -> None:
    found = evaluated(Classifier(Defended(plain.network, after=lambda z: (1000 * z).softmax(1))), digits)
    assert found.output == "probabilities"
    assert "softmax saturation" in fired(found)
    honest = evaluated(Classifier(Defended(plain.network, after=lambda z: z.softmax(1))), digits)
    assert (honest.output, honest.status) == ("probabilities", "ok"), fired(honest)


@pytest.mark.usefixtures("rng_untouched")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_flag_is_raised_on_plain_and_hardened_networks(
    plain: Classifier, hardened: Classifier, digits: Splits, seed: int
) -> None:
    for model in (plain, hardened):
        for threat in (THREAT, L2("0.4")):
            found = evaluated(model, digits, threat, seed)
            assert found.status == "ok", fired(found)
            assert found.robust.count < found.clean.count


@pytest.mark.parametrize(
    ("attack", "loss", "threat"),
    [
        (PGD(steps=2), CrossEntropy, THREAT),
        (PGD(steps=2, keep_best=False), CrossEntropy, THREAT),
        (MIFGSM(steps=2), Margin, THREAT),
        (APGD(steps=4), DLR, THREAT),
        (APGD(steps=4), CrossEntropy, L1(1)),
        (Targeted(APGD(steps=4), 2), DLR, L2("0.4")),
        (Targeted(FAB(steps=3), 2), Margin, THREAT),
        (FAB(steps=3), Margin, L1(1)),
        (APGD(steps=4), EOT(DLR, samples=2), THREAT),
    ],
)
def test_a_gradient_that_is_no_number_is_counted_in_every_attack(
    plain: Classifier, digits: Splits, attack: Attack, loss: MakeLoss, threat: Threat
) -> None:
    """sqrt at 0 has the slope infinity, and infinity times 0 is none."""
    model = Classifier(Defended(plain.network, after=lambda z: z + (z - z).sqrt()))
    attempts = [Attempt("a", attack, loss)]
    found = evaluate_unchecked(model, (digits.test.x[:8], digits.test.y[:8]), threat, attempts)
    (finite,) = (check for check in found.checks if check.name == "finite gradients")
    assert finite.value == 1.0
    assert found.status == "unreliable"
