from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harden.bounds.crown.interval_margins import interval_margins, linear_margins
from harden.data import Batch
from harden.errors import InputError
from harden.graph.live_weights import LiveGraph
from harden.models import Classifier, PassMeter, counting
from harden.models.snapshot import put_tensors, tensors_of
from harden.objectives import CROWNIBP, IBP, MTLIBP, SABR, Objective, Step, WarmUp, bound_graph_state
from harden.objectives.bound_graph_state import bounded_graph, bounded_state, box
from harden.threats import L2, Linf
from tests.objectives.certified_networks import KINDS, classifier

Array = NDArray[np.float64]
KEEP = WarmUp(redraw=False, penalty=0.0)
OBJECTIVES: list[Objective] = [
    IBP(warm_up=KEEP),
    CROWNIBP(warm_up=KEEP),
    SABR(warm_up=KEEP),
    MTLIBP(warm_up=KEEP),
]
TRACED: dict[str, LiveGraph] = {}
NAMES = ["ibp", "crown-ibp", "sabr", "mtl-ibp"]


@pytest.fixture(autouse=True)
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of network once, whatever its weights: the exporter takes seconds."""

    def found(model: Classifier, image_shape: tuple[int, int, int]) -> LiveGraph:
        kind = repr(model.network)
        if kind not in TRACED:
            TRACED[kind] = bounded_graph(model, image_shape)
        return TRACED[kind]

    monkeypatch.setattr(bound_graph_state, "bounded_graph", found)


def loss_of(objective: Objective, model: Classifier, batch: Batch, step: Step, mode: bool = True) -> Tensor:
    return objective(objective.start(model, len(batch)).train(mode), batch, step)


def value_of(objective: Objective, model: Classifier, batch: Batch, step: Step) -> float:
    return float(loss_of(objective, model, batch, step).detach())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_logits_and_margins_of_points_of_the_box(
    kind: str, training: bool, batch: Batch, step: Step
) -> None:
    state = bounded_state(IBP(warm_up=KEEP).start(classifier(kind), 12).train(training))
    seen = state.seen(batch.x)
    lower, upper = box(batch.x, step.threat)
    found = seen.bounds(lower, upper)
    low, high = found.intervals[found.program.output]
    least = torch.maximum(interval_margins(found, batch.y), linear_margins(found, batch.y))
    draws = torch.Generator().manual_seed(0)
    for number in range(40):
        share = torch.rand(batch.x.shape, generator=draws)
        share = share.round() if number % 2 else share
        logits = seen.still().answer(lower + share * (upper - lower))
        assert bool((low - 1e-5 <= logits).all())
        assert bool((logits <= high + 1e-5).all())
        others = torch.arange(3).repeat(12, 1)
        others = others[others != batch.y[:, None]].reshape(12, 2)
        margins = logits.gather(1, batch.y[:, None]) - logits.gather(1, others)
        assert bool((margins >= least - 1e-5).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_without_a_radius_the_loss_is_the_clean_cross_entropy(
    objective: Objective, kind: str, batch: Batch, step: Step
) -> None:
    model = classifier(kind).train()
    value = loss_of(objective, model, batch, replace(step, threat=Linf(0)))
    expected = functional.cross_entropy(model.logits(batch.x), batch.y)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def by_hand(layers: list[tuple[Array, Array]], low: Array, high: Array, y: int) -> float:
    """IBP in numpy: dense matrices, ReLU between them, the last one merged with the differences."""
    for weight, bias in layers[:-1]:
        centre, radius = weight @ (low + high) / 2 + bias, np.abs(weight) @ (high - low) / 2
        low, high = np.maximum(centre - radius, 0), np.maximum(centre + radius, 0)
    weight, bias = layers[-1]
    rows, offset = weight[y] - weight, bias[y] - bias
    margins = rows @ (low + high) / 2 + offset - np.abs(rows) @ (high - low) / 2
    return float(np.log(np.exp(-margins).sum()))


def as_matrix(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """An affine layer as a matrix, by what it makes of unit vectors."""
    units = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        weight = (layer(units).flatten(1) - bias).T
    return weight.numpy(), bias.numpy()


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_is_interval_arithmetic_as_written_by_hand(kind: str, batch: Batch, step: Step) -> None:
    model = classifier(kind)
    value = loss_of(IBP(warm_up=KEEP), model, batch, step)
    layers, shape = [], (1, 6, 6)
    for part in model.network.double().children():
        if isinstance(part, nn.Linear | nn.Conv2d):
            layers.append(as_matrix(part, shape if isinstance(part, nn.Conv2d) else (part.in_features,)))
    x = batch.x.double().flatten(1).numpy()
    low, high = ((np.clip(x + side * 0.1, 0, 1) - 0.4) / 0.3 for side in (-1, 1))
    expected = [by_hand(layers, a, b, int(y)) for a, b, y in zip(low, high, batch.y, strict=True)]
    assert float(value.detach()) == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_gradients_reach_every_parameter(objective: Objective, kind: str, batch: Batch, step: Step) -> None:
    model = classifier(kind)
    torch.autograd.backward(loss_of(objective, model, batch, replace(step, share=0.5)))
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert bool(weight.grad.isfinite().all()), name
        # What one class's logit gains all lose: a bias before a BatchNorm alone has none.
        assert bool(weight.grad.any()), name


def _along(weight: Tensor, way: Tensor) -> float:
    assert weight.grad is not None
    return float((weight.grad * way).sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", [IBP(), CROWNIBP(end=0.5)], ids=["ibp", "crown-ibp"])
def test_gradients_agree_with_differences(objective: Objective, kind: str, batch: Batch, step: Step) -> None:
    # In float64, which bounds follow: float32 rounds more than a step small enough for no kink is long.
    model, small = classifier(kind).double(), replace(step, threat=Linf("0.02"), share=0.5)
    batch = replace(batch, x=batch.x.double())
    objective = replace(objective, warm_up=WarmUp(redraw=False, penalty=0.2))  # type: ignore[type-var]  # a dataclass, by its protocol none
    torch.autograd.backward(loss_of(objective, model, batch, small))
    draws = torch.Generator().manual_seed(1)
    towards = [torch.randn(weight.shape, generator=draws).double() for weight in model.parameters()]
    slope = sum(_along(weight, way) for weight, way in zip(model.parameters(), towards, strict=True))
    values = []
    for side in (1e-6, -2e-6):
        with torch.no_grad():
            for weight, way in zip(model.parameters(), towards, strict=True):
                weight.add_(side * way)
        values.append(value_of(objective, model, batch, small))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-4)


def test_a_smaller_box_costs_less(batch: Batch, step: Step) -> None:
    model = classifier("normed")
    whole = value_of(IBP(warm_up=KEEP), model, batch, step)
    parts = [value_of(SABR(tau=tau, warm_up=KEEP), model, batch, step) for tau in (0.05, 0.4, 1.0)]
    clean = value_of(IBP(warm_up=KEEP), model, batch, replace(step, threat=Linf(0)))
    assert clean < parts[0] < parts[1] < parts[2]
    assert parts[2] == pytest.approx(whole)
    mixed = value_of(MTLIBP(alpha=0.5, warm_up=KEEP), model, batch, step)
    assert clean < mixed < whole
    lines = value_of(CROWNIBP(end=1.0, warm_up=KEEP), model, batch, step)
    assert clean < lines


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_same_seed_same_bytes_also_from_a_state_that_was_kept(
    objective: Objective, batch: Batch, step: Step
) -> None:
    first = objective.start(classifier("normed"), 12).train()
    kept = {name: value.clone() for name, value in tensors_of(first).items()}
    value = objective(first, batch, step)
    torch.autograd.backward(value)
    again = objective.start(classifier("normed"), 12).train()
    with torch.no_grad():
        for weight in again.parameters():
            weight.zero_()
    put_tensors(again, kept)
    other = objective(again, batch, step)
    torch.autograd.backward(other)
    assert torch.equal(value, other)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(a.grad is not None and b.grad is not None and torch.equal(a.grad, b.grad) for a, b in pairs)
    assert first.state_dict().keys() == {f"classifier.{name}" for name in classifier("normed").state_dict()}


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_start_leaves_the_model_alone_unless_weights_are_drawn_anew(objective: Objective) -> None:
    model, same = classifier("normed"), tensors_of(classifier("normed"))
    objective.start(model, 12)
    assert all(torch.equal(each, same[name]) for name, each in tensors_of(model).items())
    replace(objective, warm_up=WarmUp()).start(model, 12)  # type: ignore[type-var]  # a dataclass, by its protocol none
    assert not torch.equal(tensors_of(model)["network.0.weight"], same["network.0.weight"])
    wide = nn.Linear(1000, 500)
    IBP().start(Classifier(nn.Sequential(wide)), 12)
    assert float(wide.weight.detach().std()) == pytest.approx((2 * np.pi) ** 0.5 / 1000, rel=0.01)


def test_norms_see_the_clean_images_once(batch: Batch, step: Step) -> None:
    model, same = classifier("normed"), classifier("normed")
    loss_of(SABR(warm_up=KEEP), model, batch, step)
    same.train().logits(batch.x)
    buffers = dict(same.named_buffers())
    assert all(torch.equal(each, buffers[name]) for name, each in model.named_buffers())


def test_passes_are_counted(batch: Batch, step: Step) -> None:
    found: list[float] = []
    for objective in (IBP(), CROWNIBP(), CROWNIBP(), SABR(), MTLIBP()):
        state = objective.start(classifier("dense"), 12)
        with counting(PassMeter()) as meter:
            objective(state, batch, step if len(found) != 1 else replace(step, share=0.5))
        found.append(meter.passes / 12)
    assert found == [3, 5, 3, 3 + 8, 3 + 8 + 1]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
def test_refuses_what_it_can_not_bound(objective: Objective, batch: Batch, step: Step) -> None:
    with pytest.raises(InputError, match="certified training against L2"):
        loss_of(objective, classifier("dense"), batch, replace(step, threat=L2(1)))
    attention = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.Softmax(1), nn.Linear(6, 3)))
    with pytest.raises(InputError, match="without a sound bound: Softmax"):
        loss_of(objective, attention, batch, step)


@pytest.mark.parametrize(
    "make",
    [
        lambda: IBP(clean=1.0),
        lambda: CROWNIBP(end=1.1),
        lambda: SABR(tau=0.0),
        lambda: MTLIBP(alpha=-0.1),
        lambda: WarmUp(penalty=-1),
    ],
)
def test_refuses_shares_out_of_range(make: Callable[[], object]) -> None:
    with pytest.raises(InputError, match="expected a"):
        make()
