"""Every objective: a frozen value with a finite loss, of the passes that its method states."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import nn

from harden.attacks import PGD
from harden.data import Batch
from harden.description import describe, restore
from harden.models import Classifier, FastCopy, PassMeter, counting
from harden.objectives import (
    AWP,
    CROWNIBP,
    FGSM_RS,
    IBP,
    LIET,
    MART,
    MTLIBP,
    NFGSM,
    SABR,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    KeepsBatch,
    KeepsImages,
    LinearProbe,
    MoCo,
    MultiNorm,
    Objective,
    PriorGuidedFGSM,
    SimCLR,
    Standard,
    Step,
    WarmUp,
)
from harden.objectives.awp import without_wrappers
from harden.objectives.objective import replayed, replays_of, stronger, views_of_step
from harden.threats import L1, L2
from harden.views import LIGHT, NATURAL, Views

PGD_5 = PGD(steps=5, keep_best=False)
NO_VIEWS = Views()
WEIGHTS = (0.5, 0.0, 2.5)
OBJECTIVES: list[Objective] = [
    Standard(views=LIGHT, label_smoothing=0.1),
    LinearProbe(),
    AdversarialTraining(views=LIGHT, label_smoothing=0.1),
    TRADES(beta=3.0, attack=PGD_5, views=NATURAL),
    MART(beta=3.0, attack=PGD_5, views=NATURAL),
    AWP(MART(attack=PGD_5, views=LIGHT)),
    Standard(class_weights=WEIGHTS),
    LinearProbe(class_weights=WEIGHTS),
    AdversarialTraining(label_smoothing=0.1, class_weights=WEIGHTS),
    TRADES(attack=PGD_5, class_weights=WEIGHTS),
    MART(attack=PGD_5, class_weights=WEIGHTS),
    AWP(TRADES(attack=PGD_5, class_weights=WEIGHTS), gamma=0.01),
    SimCLR(temperature=0.2, hidden=6, width=4),
    SimCLR(attack=PGD_5, views=LIGHT, hidden=6, width=4),
    MoCo(queue=30, hidden=6, width=4),
    MoCo(momentum=0.9, queue=5, attack=PGD_5, hidden=6, width=4),
    IBP(clean=0.2, views=LIGHT),
    CROWNIBP(end=0.5, class_weights=WEIGHTS),
    SABR(tau=0.3, attack=PGD_5),
    MTLIBP(alpha=0.5, warm_up=WarmUp(redraw=False)),
    NFGSM(noise=1.0, views=LIGHT, label_smoothing=0.1),
    AdversarialTraining(FGSM_RS),
    PriorGuidedFGSM(weight=5.0, redraw=3),
    NFGSM(class_weights=WEIGHTS),
    PriorGuidedFGSM(class_weights=WEIGHTS),
    LIET(weight=5.0, views=LIGHT, class_weights=WEIGHTS),
    FreeAdversarialTraining(replays=2, views=LIGHT, label_smoothing=0.1, class_weights=WEIGHTS),
    GaussianAugmentation(sigma=0.5, views=LIGHT, label_smoothing=0.1, class_weights=WEIGHTS),
    MultiNorm(AdversarialTraining(class_weights=WEIGHTS), (L2("1/2"), L1("3"))),
    MultiNorm(TRADES(attack=PGD_5, views=LIGHT), (L2("1/2"),), "average"),
    AdversarialTraining(cutmix=0.5, views=LIGHT, class_weights=WEIGHTS),
]
PLAIN = ["standard", "probe", "madry", "trades", "mart", "awp"]
WEIGHED = [f"{name}-weighed" for name in PLAIN]
CONTRASTIVE = ["simclr", "simclr-adv", "moco", "moco-adv"]
CERTIFIED = ["ibp", "crown-ibp", "sabr", "mtl-ibp"]
SINGLE_STEP = ["n-fgsm", "fgsm-rs", "fgsm-pgi", "n-fgsm-weighed", "fgsm-pgi-weighed"]
OTHERS = ["liet", "free", "gaussian", "multi-norm", "multi-norm-average", "cutmix"]
NAMES = [*PLAIN, *WEIGHED, *CONTRASTIVE, *CERTIFIED, *SINGLE_STEP, *OTHERS]
IMAGES = 112  # the batch's positions end at 111
THIRD = 1 / 3


def started(objective: Objective, model: Classifier) -> nn.Module:
    """The state for images (1, 6, 6), as the training loop makes it."""
    if isinstance(objective, KeepsImages):
        return objective.start_with(model, IMAGES, (1, 6, 6))
    if isinstance(objective, KeepsBatch):
        return objective.start_on(model, (12, 1, 6, 6))
    return objective.start(model, IMAGES)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_is_a_frozen_value_with_a_json_round_trip(objective: Objective) -> None:
    assert dataclasses.is_dataclass(objective)
    again = restore(json.loads(json.dumps(describe(objective))))
    assert again == objective
    assert hash(again) == hash(objective)
    assert repr(again) == repr(objective)
    for field in dataclasses.fields(objective):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(objective, field.name, None)
    assert not hasattr(objective, "__dict__")
    assert [other for other in OBJECTIVES if other == again] == [objective]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_gives_a_finite_scalar_whose_gradient_reaches_a_weight(
    objective: Objective, model: Classifier, batch: Batch, step: Step
) -> None:
    value = objective(started(objective, model).train(), batch, step)
    assert value.shape == ()
    assert bool(value.isfinite())
    torch.autograd.backward(value)
    assert any(weight.grad is not None and weight.grad.any() for weight in model.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_changes_neither_the_batch_nor_itself(
    objective: Objective, model: Classifier, batch: Batch, step: Step
) -> None:
    described = describe(objective)
    before = [part.clone() for part in (batch.x, batch.y, batch.index)]
    torch.autograd.backward(objective(started(objective, model).train(), batch, step))
    assert all(torch.equal(a, b) for a, b in zip(before, (batch.x, batch.y, batch.index), strict=True))
    assert describe(objective) == described


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_is_a_function_of_generator_and_seed(
    objective: Objective, model: Classifier, batch: Batch, step: Step
) -> None:
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # dropout draws from torch's global generator, which the loop seeds
    torch.manual_seed(0)
    state = started(objective, model).eval()
    weights = {name: value.clone() for name, value in state.state_dict().items()}
    values = []
    for number, (generator, seed) in enumerate(((4, 3), (4, 3), (5, 3), (4, 8))):
        state.load_state_dict(weights)
        torch.manual_seed(number)
        at = replace(step, generator=torch.Generator().manual_seed(generator), seed=seed)
        values.append(float(objective(state, batch, at).detach()))
    assert values[0] == values[1]
    inner = without_wrappers(objective)
    views, attack = getattr(inner, "views", None), getattr(inner, "attack", None)
    draws = attack is not None or isinstance(inner, NFGSM | PriorGuidedFGSM | LIET | GaussianAugmentation)
    assert (values[2] != values[0]) == (views is not None)
    assert (values[3] != values[0]) == draws


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (Standard(), 1),
        (LinearProbe(), THIRD),
        (AdversarialTraining(), 2 + 1),
        (AdversarialTraining(attack=PGD(keep_best=False)), 10 + 1),
        (AdversarialTraining(attack=PGD(steps=3)), 3 + THIRD + 1),
        (NFGSM(), 2),
        (AdversarialTraining(FGSM_RS), 2),
        (PriorGuidedFGSM(), 3),
        (PriorGuidedFGSM(weight=0.0), 2),
        (LIET(), 3 + 3 / 12),  # three classes and twelve images
        (FreeAdversarialTraining(), 1),
        (GaussianAugmentation(), 1),
        (MultiNorm(AdversarialTraining(), (L2("1/2"),)), 2 * (2 + THIRD) + 1),
        (MultiNorm(AdversarialTraining(), (L2("1/2"),), "average"), 2 * (2 + 1)),
        (TRADES(), 2 + THIRD + 2),
        (TRADES(attack=PGD(keep_best=False)), 10 + THIRD + 2),
        (TRADES(attack=PGD_5), 5 + THIRD + 2),
        (MART(), 2 + 2),
        (MART(attack=PGD(keep_best=False)), 10 + 2),
        (MART(attack=PGD_5), 5 + 2),
        (AWP(AdversarialTraining()), 2 + 1 + 1),
        (AWP(TRADES()), 2 + THIRD + 2 + THIRD + 2),
        (AWP(MART()), 2 + 2 + 2),
        (SimCLR(views=NO_VIEWS), 2),
        (SimCLR(views=NO_VIEWS, attack=PGD_5), 2 + THIRD + 5),
        (MoCo(views=NO_VIEWS), 1 + THIRD),
        (MoCo(views=NO_VIEWS, attack=PGD_5), 1 + THIRD + 5),
    ],
    ids=str,
)
def test_costs_as_many_passes_per_image_as_its_method_says(
    objective: Objective, passes: float, model: Classifier, batch: Batch, step: Step
) -> None:
    state = started(objective, model).train()
    with counting(PassMeter()) as meter:
        torch.autograd.backward(objective(state, batch, step))
    assert meter.passes == pytest.approx(12 * passes, rel=1e-9)


def test_batches_are_replayed_as_often_as_the_objective_says_and_others_once(batch: Batch) -> None:
    other = Batch(batch.x[:5], batch.y[:5], batch.index[:5])
    free = FreeAdversarialTraining(replays=3)
    assert (replays_of(free), replays_of(Standard()), replays_of(AWP(TRADES()))) == (3, 1, 1)
    found = list(replayed(free, iter((batch, other))))
    assert [each is batch for each in found] == [True] * 3 + [False] * 3
    assert [each is other for each in found[3:]] == [True] * 3
    assert list(map(id, replayed(Standard(), (batch, other)))) == [id(batch), id(other)]


def test_replays_share_the_random_numbers_of_their_views() -> None:
    def drawn(objective: Objective, number: int, seed: int = 3) -> float:
        return float(torch.rand(1, generator=views_of_step(objective, seed, number, torch.device("cpu"))))

    free = FreeAdversarialTraining(replays=3)
    alone = [drawn(Standard(), number) for number in range(4)]
    assert len(set(alone)) == 4
    assert [drawn(free, number) for number in range(12)] == [one for one in alone for _ in range(3)]
    assert drawn(free, 0, seed=4) != alone[0]


def test_objectives_whose_attack_may_be_too_weak_have_a_stronger_one() -> None:
    views, weights = LIGHT, WEIGHTS
    free = FreeAdversarialTraining(views=views, label_smoothing=0.1, class_weights=weights)
    assert stronger(free) == AdversarialTraining(views=views, label_smoothing=0.1, class_weights=weights)
    copy = FastCopy(bfloat16=True)
    liet = LIET(views=views, class_weights=weights, steering=copy)
    assert stronger(liet) == AdversarialTraining(views=views, class_weights=weights, steering=copy)
    others = (L2("1/2"),)
    combinations: tuple[Literal["max", "average"], ...] = ("max", "average")
    for combine in combinations:
        several = MultiNorm(TRADES(), others, combine)
        inner = stronger(TRADES())
        assert inner is not None
        assert stronger(several) == MultiNorm(inner, others, combine)
        assert stronger(AWP(several)) == AWP(MultiNorm(inner, others, combine))
    assert stronger(MultiNorm(TRADES(attack=PGD(steps=10)), others)) is None
    assert stronger(GaussianAugmentation()) is None
