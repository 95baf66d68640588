"""Contrastive objectives with an attack: the attacked view, foreign states and heads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import InfoNCE, LossFunction
from harden.models import Classifier
from harden.objectives import MoCo, SimCLR, Step
from harden.objectives.moco import MomentumState
from harden.objectives.simclr import ProjectedState
from harden.threats import Threat
from harden.views import Views
from tests.objectives.nt_xent_by_loop import naive_nt_xent

NO_VIEWS = Views()
NOISY = Views(shift=1, noise=0.05)


class Compared:
    """Attacks, and keeps the loss before and after; the loss closes over the other view."""

    def __init__(self, attack: PGD) -> None:
        self.attack = attack
        self.before: list[Tensor] = []
        self.after: list[Tensor] = []
        self.view: list[Tensor] = []
        self.found: list[Tensor] = []

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        assert isinstance(loss, InfoNCE)
        x_adv = self.attack(loss, x, threat, draws)
        with torch.no_grad():
            self.before.append(loss(x))
            self.after.append(loss(x_adv))
        self.view.append(x)
        self.found.append(x_adv)
        assert bool(threat.contains(x_adv, x).all())
        return x_adv


@pytest.mark.parametrize("kind", [SimCLR, MoCo])
def test_the_attacked_view_is_farther_from_its_partner(
    kind: type[SimCLR | MoCo], model: Classifier, batch: Batch, step: Step
) -> None:
    attack = Compared(PGD(steps=5, random_start=False))
    objective = kind(attack=attack, views=NOISY, hidden=6, width=5)
    state = objective.start(model, 1000)
    for part in state.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    objective(state, batch, step)
    assert bool((attack.after[0] >= attack.before[0]).all())
    assert attack.after[0].mean() > attack.before[0].mean() + 1e-3


def test_simclr_learns_from_the_attacked_view(model: Classifier, batch: Batch, step: Step) -> None:
    attack = Compared(PGD(steps=5, random_start=False))
    objective = SimCLR(temperature=0.3, attack=attack, views=NOISY, hidden=6, width=5)
    state = objective.start(model.eval(), 1000).eval()
    assert isinstance(state, ProjectedState)
    value = objective(state, batch, step)
    generator = torch.Generator().manual_seed(4)
    first, second = (NOISY(batch.x, generator) for _ in range(2))
    assert torch.equal(first, attack.view[0])
    assert not torch.equal(first, attack.found[0])
    expected = naive_nt_xent(state.embed(attack.found[0]), state.embed(second), 0.3)
    torch.testing.assert_close(value, expected)


def moco_state(model: Classifier, objective: MoCo) -> MomentumState:
    state = objective.start(model, 1000)
    assert isinstance(state, MomentumState)
    return state


def test_moco_learns_from_the_attacked_query_and_keeps_clean_keys(
    model: Classifier, batch: Batch, step: Step
) -> None:
    attack = Compared(PGD(steps=5, random_start=False))
    objective = MoCo(temperature=0.3, attack=attack, views=NOISY, hidden=6, width=5, queue=12)
    state = moco_state(model.eval(), objective)
    state.eval()
    value = objective(state, batch, step)
    generator = torch.Generator().manual_seed(4)
    query, key = (NOISY(batch.x, generator) for _ in range(2))
    assert torch.equal(query, attack.view[0])
    keys = state.keys(key)
    torch.testing.assert_close(state.queue, keys)
    logits = torch.nn.functional.normalize(state.embed(attack.found[0])) @ keys.T / 0.3
    torch.testing.assert_close(value, -logits.log_softmax(1).diagonal().mean())
    assert value > attack.before[0].mean()


@pytest.mark.parametrize("objective", [SimCLR(views=NO_VIEWS), MoCo(views=NO_VIEWS)])
def test_a_foreign_state_is_refused(
    objective: SimCLR | MoCo, model: Classifier, batch: Batch, step: Step
) -> None:
    with pytest.raises(TypeError, match="what its start\\(\\) returned"):
        objective(nn.Identity(), batch, step)


@pytest.mark.parametrize("objective", [SimCLR(), MoCo()])
def test_a_head_that_is_not_linear_is_refused_by_name(objective: SimCLR | MoCo) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    with pytest.raises(InputError, match="'2', a Sequential"):
        objective.start(Classifier(network, head="2"), 4)
