"""MoCo: its loss by hand, the queue, and the momentum encoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.data import Batch
from harden.models import Classifier
from harden.objectives import MoCo, Step
from harden.objectives.moco import MomentumState
from harden.views import Views

NO_VIEWS = Views()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


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


def test_a_short_set_has_a_short_queue(model: Classifier) -> None:
    """A queue longer than the set would hold every image's own past keys as its negatives."""
    lengths = [len(MoCo(queue=4096).start(model, n).get_buffer("queue")) for n in (2, 60, 8192, 100_000)]
    assert lengths == [1, 30, 4096, 4096]
