from __future__ import annotations

import math

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
from harden.objectives.simclr import ProjectedState, nt_xent
from harden.threats import Threat
from harden.views import Views

NO_VIEWS = Views()
NOISY = Views(shift=1, noise=0.05)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


def naive_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Equation 1 of Chen et al., with a loop over anchors and one over candidates."""
    both, n = [*first, *second], len(first)
    total = torch.zeros((), dtype=first.dtype)
    for i in range(2 * n):
        partner = i + n if i < n else i - n
        denominator = torch.zeros((), dtype=first.dtype)
        for k in range(2 * n):
            if k != i:
                denominator = denominator + (cosine(both[i], both[k]) / temperature).exp()
        total = total - cosine(both[i], both[partner]) / temperature + denominator.log()
    return total / (2 * n)


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.5), (5, 0.1), (7, 2.0)])
def test_nt_xent_and_its_gradient_are_those_of_the_double_loop(n: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(n)
    first, second = (
        torch.randn(n, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)
    )
    expected, value = naive_nt_xent(first, second, temperature), nt_xent(first, second, temperature)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(value, (first, second)),
        torch.autograd.grad(expected, (first, second)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
        assert theirs.abs().max() > 1e-3


def test_nt_xent_does_not_depend_on_lengths_and_is_symmetric_in_the_views() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    value = nt_xent(first, second, 0.5)
    torch.testing.assert_close(nt_xent(3 * first, 0.1 * second, 0.5), value)
    torch.testing.assert_close(nt_xent(second, first, 0.5), value)
    # Pairing matters: with the partners mixed up the loss is another one.
    assert not torch.isclose(nt_xent(first, second.roll(1, 0), 0.5), value)


def test_nt_xent_of_equal_embeddings_is_the_logarithm_of_the_candidates() -> None:
    same = torch.ones(8, 3)
    assert float(nt_xent(same, same, 0.5)) == pytest.approx(math.log(15), rel=1e-6)


def test_nt_xent_stays_finite_at_a_small_temperature_and_at_a_zero_embedding() -> None:
    first, second = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    first[0] = 0
    first.requires_grad_()
    value = nt_xent(first, second, 0.001)
    torch.autograd.backward(value)
    assert bool(value.isfinite())
    assert first.grad is not None
    assert bool(first.grad.isfinite().all())


def test_simclr_is_nt_xent_of_two_views_of_the_same_images(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = SimCLR(temperature=0.3, views=NOISY, hidden=6, width=5)
    state = objective.start(model.eval(), 1000).eval()
    assert isinstance(state, ProjectedState)
    value = objective(state, batch, step)
    generator = torch.Generator().manual_seed(4)
    first, second = (state.embed(NOISY(batch.x, generator)) for _ in range(2))
    assert not torch.equal(first, second)
    assert first.shape == (12, 5)
    torch.testing.assert_close(value, naive_nt_xent(first, second, 0.3))


def test_simclr_looks_at_no_label_and_trains_the_encoder_but_not_the_head(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = SimCLR(views=NO_VIEWS, hidden=6, width=5)
    state = objective.start(model, 1000).eval()
    value = objective(state, batch, step)
    other = objective(state, Batch(batch.x, 2 - batch.y, batch.index), step)
    assert torch.equal(value, other)
    torch.autograd.backward(value)
    head = list(model.head.parameters())
    assert all(weight.grad is None or not weight.grad.any() for weight in head)
    encoder = [weight for weight in model.parameters() if all(weight is not mine for mine in head)]
    assert len(encoder) == 6
    for weight in (*encoder, *state.get_submodule("projection").parameters()):
        assert weight.grad is not None
        assert bool(weight.grad.any())


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


def moco_state(model: Classifier, objective: MoCo) -> MomentumState:
    state = objective.start(model, 1000)
    assert isinstance(state, MomentumState)
    return state


def rows(first: int, count: int, width: int = 3) -> Tensor:
    """Keys that can be told apart: row r is filled with r."""
    return torch.arange(first, first + count, dtype=torch.float32).unsqueeze(1).expand(count, width)


@pytest.mark.parametrize("sizes", [[3], [3, 3, 3], [2, 5, 1, 4], [7], [9, 2], [20, 3], [7, 7]])
def test_the_queue_holds_the_last_keys_whatever_the_batches(model: Classifier, sizes: list[int]) -> None:
    state = moco_state(model, MoCo(queue=7, width=3, hidden=4))
    pushed = 0
    for size in sizes:
        state.push(rows(pushed + 1, size))
        pushed += size
        filled = min(pushed, 7)
        assert int(state.filled) == filled
        held = sorted(state.queue[:filled, 0].tolist())
        assert held == [float(key) for key in range(pushed - filled + 1, pushed + 1)]
        assert not state.queue[filled:].any()
    # The next key goes over the oldest one.
    oldest = max(pushed - 6, 1)
    state.push(rows(pushed + 1, 1))
    assert (oldest in state.queue[:, 0].tolist()) == (pushed < 7)


def test_the_queue_keeps_no_graph(model: Classifier, batch: Batch, step: Step) -> None:
    objective = MoCo(queue=20, width=3, hidden=4, views=NO_VIEWS)
    state = moco_state(model, objective)
    keys = torch.ones(2, 3, requires_grad=True) * 2
    state.push(keys)
    assert not state.queue.requires_grad
    torch.autograd.backward(objective(state, batch, step))
    torch.autograd.backward(objective(state, batch, step))  # a graph into the queue would be freed by now
    assert int(state.filled) == 20


def test_moco_is_info_nce_over_the_batch_keys_and_the_queue(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = MoCo(temperature=0.3, queue=30, width=5, hidden=4, views=NO_VIEWS)
    state = moco_state(model.eval(), objective)
    state.eval()
    with torch.no_grad():
        for weight in state.momentum_classifier.parameters():
            weight.mul_(0.9)
    past = torch.nn.functional.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(1)))
    state.push(past)
    queries, keys = state.embed(batch.x), state.keys(batch.x)
    candidates = [*keys, *past]
    total = torch.zeros(())
    for i, query in enumerate(queries):
        logits = [cosine(query, key) / 0.3 for key in candidates]
        total = total - logits[i] + torch.stack(logits).exp().sum().log()
    value = objective(state, batch, step)
    torch.testing.assert_close(value, total / 12)
    # The batch's keys are in the queue now, behind those before; the empty places took no part.
    assert int(state.filled) == 19
    torch.testing.assert_close(state.queue[7:19], keys)
    torch.testing.assert_close(keys.square().sum(1), torch.ones(12))


def test_momentum_encoder_starts_equal_moves_by_the_formula_and_gets_no_gradient(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = MoCo(momentum=0.75, queue=16, width=3, hidden=4, views=NO_VIEWS)
    state = moco_state(model, objective)
    slow = {**dict(state.momentum_classifier.named_parameters())}
    fast = {**dict(state.classifier.named_parameters())}
    slow |= {f"p.{name}": weight for name, weight in state.momentum_projection.named_parameters()}
    fast |= {f"p.{name}": weight for name, weight in state.projection.named_parameters()}
    assert slow.keys() == fast.keys()
    assert all(torch.equal(slow[name], fast[name]) and slow[name] is not fast[name] for name in slow)
    assert not any(weight.requires_grad for weight in slow.values())
    torch.autograd.backward(objective(state, batch, step))
    assert all(weight.grad is None for weight in slow.values())
    assert any(weight.grad is not None for weight in fast.values())
    with torch.no_grad():
        for weight in fast.values():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    expected = {name: 0.75 * slow[name].clone() + 0.25 * fast[name].detach() for name in slow}
    now = {name: weight.clone() for name, weight in fast.items()}
    state.after_step(step)
    for name in slow:
        torch.testing.assert_close(slow[name], expected[name])
        assert torch.equal(fast[name], now[name])


def test_momentum_encoder_and_queue_are_part_of_what_is_checkpointed(model: Classifier) -> None:
    names = set(moco_state(model, MoCo(queue=5, width=3, hidden=4)).state_dict())
    assert {"queue", "filled", "position"} <= names
    assert any(name.startswith("momentum_classifier.") for name in names)
    assert any(name.startswith("momentum_projection.") for name in names)


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


def test_a_short_set_has_a_short_queue(model: Classifier) -> None:
    """A queue longer than the set would hold every image's own past keys as its negatives."""
    lengths = [len(MoCo(queue=4096).start(model, n).get_buffer("queue")) for n in (2, 60, 8192, 100_000)]
    assert lengths == [1, 30, 4096, 4096]
