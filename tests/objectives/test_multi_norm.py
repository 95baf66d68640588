"""MultiNorm: the worst threat of each image and the mean over threats, by hand; what it goes around."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import PGD
from harden.data import Batch, from_loader
from harden.description import describe, restore
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.models import Classifier, PassMeter, counting
from harden.models.snapshot import read_snapshot, write_snapshot
from harden.objectives import (
    AWP,
    MART,
    NFGSM,
    SABR,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    MultiNorm,
    Objective,
    SimCLR,
    Standard,
    Step,
)
from harden.objectives.awp import without_wrappers
from harden.threats import L1, L2, Linf, Threat
from harden.training import SGD, Budget, Stage, train
from harden.training.weights.weight_averaging import weights_of
from harden.views import LIGHT, Views

SHORT = PGD(steps=2, step_size=0.75, keep_best=False)
OTHERS: tuple[Threat, ...] = (L2("1/2"), L1("3"))
MADRY = AdversarialTraining(SHORT, steering=None)


@pytest.fixture
def model(model: Classifier) -> Classifier:
    """In inference mode, so that z is one function throughout."""
    return model.eval()


@dataclass(frozen=True)
class Along:
    """Moves every pixel by the eps of the threat, or by nothing for the images of some labels."""

    seen: list[Threat]

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        self.seen.append(threat)
        return x + float(threat.eps) * torch.linspace(-1, 1, 36).view(1, 6, 6)


def value_of(objective: Objective, model: Classifier, batch: Batch, step: Step) -> Tensor:
    return objective(objective.start(model, 12).eval(), batch, step)


def entropy(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(model.logits(x), y, reduction="none")


def test_max_takes_for_each_image_the_perturbation_of_largest_loss(
    model: Classifier, batch: Batch, step: Step
) -> None:
    found = [
        SHORT(lambda x: entropy(model, x, batch.y), batch.x, threat, step.draws(batch.index)).detach()
        for threat in (step.threat, *OTHERS)
    ]
    losses = torch.stack([entropy(model, x_adv, batch.y) for x_adv in found])
    value = value_of(MultiNorm(MADRY, OTHERS), model, batch, step)
    torch.testing.assert_close(value, losses.amax(0).mean())
    chosen = losses.argmax(0)
    assert len({*chosen.tolist()}) > 1  # the images differ in their worst threat
    for threat in range(3):
        assert value >= losses[threat].mean()


def test_average_is_the_mean_of_the_objective_over_the_threats(
    model: Classifier, batch: Batch, step: Step
) -> None:
    for inner in (MADRY, TRADES(attack=SHORT), MART(attack=SHORT, class_weights=(1.0, 2.0, 0.5))):
        alone = [
            value_of(inner, model, batch, replace(step, threat=threat)) for threat in (step.threat, *OTHERS)
        ]
        value = value_of(MultiNorm(inner, OTHERS, "average"), model, batch, step)
        torch.testing.assert_close(value, torch.stack(alone).mean())


@pytest.mark.parametrize("combine", ["max", "average"])
def test_a_threat_that_is_the_run_s_own_again_changes_nothing(
    model: Classifier, batch: Batch, step: Step, combine: Any
) -> None:
    for inner in (MADRY, TRADES(attack=SHORT, views=LIGHT), MART(attack=SHORT)):
        drawn = step.generator.get_state()
        plain = value_of(inner, model, batch, step)
        step.generator.set_state(drawn)
        value = value_of(MultiNorm(inner, (step.threat,), combine), model, batch, step)
        torch.testing.assert_close(value, plain)
        step.generator.set_state(drawn)


@pytest.mark.parametrize("combine", ["max", "average"])
def test_the_other_threats_are_ramped_as_the_run_s_own(
    model: Classifier, batch: Batch, step: Step, combine: Any
) -> None:
    seen: list[Threat] = []
    objective = MultiNorm(AdversarialTraining(Along(seen), steering=None), OTHERS, combine)
    whole = Linf("0.2")
    for share in (0.0, 0.25, 1.0):
        seen.clear()
        value_of(objective, model, batch, replace(step, threat=whole.scaled(share), share=share))
        assert [float(threat.eps) for threat in seen] == pytest.approx([0.2 * share, 0.5 * share, 3 * share])
        assert [threat.name for threat in seen] == ["linf", "l2", "l1"]


@pytest.mark.parametrize("combine", ["max", "average"])
def test_all_threats_see_the_same_views(model: Classifier, batch: Batch, step: Step, combine: Any) -> None:
    clean: list[Tensor] = []

    def note(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        clean.append(x.clone())
        return x

    views = Views(shift=2, noise=0.1)
    inner = AdversarialTraining(note, views=views, steering=None)
    value_of(MultiNorm(inner, OTHERS, combine), model, batch, step)
    assert len(clean) == 3
    assert all(torch.equal(x, clean[0]) for x in clean)
    assert not torch.equal(clean[0], batch.x)


def test_a_loss_that_is_not_a_number_is_never_the_largest(
    model: Classifier, batch: Batch, step: Step
) -> None:
    def broken(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return x if threat.name == "linf" else torch.full_like(x, torch.nan)

    value = value_of(MultiNorm(AdversarialTraining(broken, steering=None), OTHERS), model, batch, step)
    torch.testing.assert_close(value, entropy(model, batch.x, batch.y).mean())


THIRD = 1 / 3


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (MultiNorm(AdversarialTraining(SHORT), OTHERS), 3 * (2 + THIRD) + 1),
        (MultiNorm(AdversarialTraining(SHORT), OTHERS, "average"), 3 * (2 + 1)),
        (MultiNorm(TRADES(attack=SHORT), OTHERS), THIRD + 3 * (2 + THIRD) + 2),
        (MultiNorm(TRADES(attack=SHORT), OTHERS, "average"), 3 * (2 + THIRD + 2)),
        (AWP(MultiNorm(AdversarialTraining(SHORT), OTHERS)), 3 * (2 + THIRD) + 1 + 3 * THIRD + 1),
        (AWP(MultiNorm(AdversarialTraining(SHORT), OTHERS, "average")), 3 * (2 + 1) + 3),
    ],
    ids=["max", "average", "max of trades", "average of trades", "awp of max", "awp of average"],
)
def test_costs_as_its_docstring_says(
    objective: Objective, passes: float, model: Classifier, batch: Batch, step: Step
) -> None:
    state = objective.start(model, 12).train()
    with counting(PassMeter()) as meter:
        torch.autograd.backward(objective(state, batch, step))
    assert meter.passes == pytest.approx(12 * passes, rel=1e-9)


@pytest.mark.parametrize("combine", ["max", "average"])
def test_awp_without_a_perturbation_is_the_same_loss(
    model: Classifier, batch: Batch, step: Step, combine: Any
) -> None:
    inner = MultiNorm(TRADES(attack=SHORT, views=LIGHT), OTHERS, combine)
    drawn = step.generator.get_state()
    plain = value_of(inner, model, batch, step)
    step.generator.set_state(drawn)
    torch.testing.assert_close(value_of(AWP(inner, 1e-30, 0.0), model, batch, step), plain)
    step.generator.set_state(drawn)
    assert value_of(AWP(inner, 0.1, 0.0), model, batch, step) > plain


def test_a_network_learns_under_all_of_its_threats(model: Classifier) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = 0.2 * torch.rand(60, 1, 6, 6, generator=generator)
    for label in range(3):
        x[y == label, :, 2 * label : 2 * label + 2] += 0.6
    source = from_loader((x, y), 20)
    stage = Stage("s", MultiNorm(MADRY, OTHERS), Budget.parse("30epochs"), optimiser=SGD(0.1), ramp=0.5)
    records = list(train(stage, model, source, Linf("0.1"), seed=5))
    assert records[-1].loss < 0.5 * records[0].loss


@pytest.mark.parametrize("combine", ["max", "average"])
def test_a_stage_that_is_resumed_ends_with_the_same_bytes(
    model: Classifier, tmp_path: Path, combine: Any
) -> None:
    x = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    source = from_loader((x, torch.arange(40) % 3), 10)
    objective = MultiNorm(AdversarialTraining(SHORT, views=LIGHT), OTHERS, combine)
    stage = Stage("s", objective, Budget.parse("2epochs"), optimiser=SGD(0.05), average=0.9)
    whole = copy.deepcopy(model)
    list(train(stage, whole, source, Linf("0.1"), seed=5))
    for after in (1, 5):
        first = train(stage, copy.deepcopy(model), source, Linf("0.1"), seed=5)
        for _ in range(after):
            next(first)
        write_snapshot(first.snapshot(), tmp_path / "snapshot")
        first.close()
        again = copy.deepcopy(model)
        start = read_snapshot(tmp_path / "snapshot")
        list(train(stage, again, source, Linf("0.1"), seed=5, start=start))
        mine, theirs = weights_of(again), weights_of(whole)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_is_a_value_with_a_json_round_trip() -> None:
    objective = MultiNorm(TRADES(class_weights=(1.0, 2.0)), OTHERS, "average")
    assert restore(describe(AWP(objective))) == AWP(objective)
    assert hash(objective) == hash(restore(describe(objective)))
    assert objective.class_weights == (1.0, 2.0)
    assert AWP(objective).class_weights == (1.0, 2.0)
    assert without_wrappers(AWP(objective)) == TRADES(class_weights=(1.0, 2.0))


def test_the_objective_s_own_check_is_made_for_each_threat(model: Classifier) -> None:
    MultiNorm(TRADES(), OTHERS).check(model, (1, 6, 6), Linf("0.1"))
    objective = MultiNorm(SABR(attack=SHORT), OTHERS)
    with pytest.raises(InputError, match="certified training against L2"):
        objective.check(model, (1, 6, 6), Linf("0.1"))


@pytest.mark.parametrize(
    "inner",
    [Standard(), NFGSM(), SimCLR(), AWP(MADRY), GaussianAugmentation(), FreeAdversarialTraining()],
    ids=lambda each: type(each).__name__,
)
def test_an_objective_without_an_attack_is_refused(inner: Objective) -> None:
    with pytest.raises(InputError, match=r"MultiNorm around \w+, which has no attack.*AWP\(MultiNorm"):
        MultiNorm(inner, OTHERS)


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda: MultiNorm(MADRY, ()), "no other threat"),
        (lambda: MultiNorm(MADRY, OTHERS, "sum"), "a combination 'sum'"),  # type: ignore[arg-type]  # a mistake
    ],
)
def test_other_arguments_are_refused(make: Callable[[], object], seen: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert seen in caught.value.seen
    assert caught.value.instead.startswith("write MultiNorm(")


def test_the_state_is_the_objective_s_own(model: Classifier) -> None:
    state = MultiNorm(TRADES(), OTHERS).start(model, 12)
    assert isinstance(state, nn.Module)
    assert {*state.state_dict()} == {*TRADES().start(model, 12).state_dict()}
