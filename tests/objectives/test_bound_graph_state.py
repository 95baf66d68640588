"""The state of objectives on bounds: the graph on live weights, boxes, and weights that are drawn anew."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.graph import read
from harden.graph.live_weights import LiveGraph
from harden.models import Classifier, PassMeter, counting
from harden.objectives import bound_graph_state as subject
from harden.objectives.bound_graph_state import (
    BoundedState,
    Seen,
    bounded_graph,
    bounded_state,
    box,
    check_bounded,
    draw_for_intervals_,
)
from harden.threats import L2, Linf
from tests.bounds.networks import Builder

pytestmark = pytest.mark.usefixtures("rng_untouched")

SHAPE = (1, 2, 2)
NORM = "network.2"
"""The BatchNorm's name in the classifier."""


def classifier(seed: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
        norm = network[2]
        assert isinstance(norm, nn.BatchNorm1d)
        norm.running_mean = 0.1 * torch.randn(6)
        norm.running_var = 1 + torch.rand(6)
    return Classifier(network)


def live(model: Classifier) -> LiveGraph:
    """The classifier's graph as it would be traced, without the exporter, which takes seconds."""
    net = Builder(SHAPE)
    names: dict[str, str] = {}
    own = dict([*model.named_parameters(), *model.named_buffers()])

    def constant(name: str) -> str:
        made = net.constant(own[name].detach().numpy())
        names[made] = name
        return made

    net.add("Flatten")
    net.add("Gemm", constant("network.1.weight"), constant("network.1.bias"), transB=1)
    parts = [constant(f"{NORM}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
    net.add("BatchNormalization", *parts)
    net.add("Relu")
    net.add("Gemm", constant("network.4.weight"), constant("network.4.bias"), transB=1)
    return LiveGraph(read(net.model(), moving=frozenset(names)), names, {NORM: (parts[2], parts[3])})


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """The shapes for which a graph was traced."""
    shapes: list[tuple[int, int, int]] = []

    def found(model: Classifier, image_shape: tuple[int, int, int]) -> LiveGraph:
        shapes.append(image_shape)
        return live(model)

    monkeypatch.setattr(subject, "bounded_graph", found)
    return shapes


def images(n: int = 5, seed: int = 1) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def seen_by(model: Classifier, x: Tensor) -> Seen:
    return BoundedState(model).seen(x)


# The state


def test_the_graph_is_traced_with_the_first_batch_alone(traced: list[tuple[int, int, int]]) -> None:
    state = BoundedState(classifier())
    assert traced == []
    state.seen(images(5))
    state.seen(images(3))
    assert traced == [SHAPE]


def test_the_graph_is_no_part_of_a_checkpoint(traced: list[tuple[int, int, int]]) -> None:
    model = classifier()
    state = BoundedState(model)
    names = list(state.state_dict())
    state.seen(images())
    assert list(state.state_dict()) == names == [f"classifier.{name}" for name in model.state_dict()]


def test_another_state_is_refused() -> None:
    state = BoundedState(classifier())
    assert bounded_state(state) is state
    with pytest.raises(TypeError, match=r"makes a BoundedState, and not a Sequential"):
        bounded_state(nn.Sequential())


# What a step sees


@pytest.mark.parametrize("training", [True, False])
def test_on_the_clean_images_graph_and_network_agree(
    traced: list[tuple[int, int, int]], training: bool
) -> None:
    """In training mode with the statistics of these images, else with the stored ones."""
    model, x = classifier().train(training), images()
    seen = seen_by(model, x)
    torch.testing.assert_close(seen.answer(x), seen.logits)


def test_other_images_do_not_change_the_statistics(traced: list[tuple[int, int, int]]) -> None:
    model, x, other = classifier().train(), images(), images(seed=2)
    seen = seen_by(model, x)
    whole = seen.answer(torch.cat([x, other]))
    torch.testing.assert_close(whole[:5], seen.logits)
    torch.testing.assert_close(whole[5:], seen.answer(other))


def test_the_graph_follows_the_weights_and_their_gradients_come_back(
    traced: list[tuple[int, int, int]],
) -> None:
    model, x = classifier().eval(), images()
    state = BoundedState(model)
    state.seen(x)
    with torch.no_grad():
        model.network.get_parameter("4.weight").mul_(2)
    seen = state.seen(x)
    torch.testing.assert_close(seen.answer(x), model.logits(x))
    weight = model.network.get_parameter("1.weight")
    (through_graph,) = torch.autograd.grad(seen.answer(x).square().sum(), weight)
    (through_network,) = torch.autograd.grad(model.logits(x).square().sum(), weight)
    torch.testing.assert_close(through_graph, through_network)


def test_for_attacks_the_same_has_no_gradient_for_weights(traced: list[tuple[int, int, int]]) -> None:
    x = images().requires_grad_()
    seen = seen_by(classifier().train(), x.detach())
    still = seen.still()
    assert not any(each.requires_grad for each in still.constants.values())
    assert not still.logits.requires_grad
    assert any(each.requires_grad for each in seen.constants.values())
    torch.testing.assert_close(still.answer(x), seen.answer(x))
    (gradient,) = torch.autograd.grad(still.answer(x).sum(), x)
    assert bool((gradient != 0).any())


def test_intervals_hold_the_logits_of_the_box_and_have_gradients(traced: list[tuple[int, int, int]]) -> None:
    model, x = classifier().eval(), images()
    seen = seen_by(model, x)
    lower, upper = box(x, Linf("1/8"))
    found = seen.bounds(lower, upper)
    low, high = found.intervals[found.program.output]
    assert low.dtype == torch.float32
    for seed in range(10):
        share = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)).round()
        logits = seen.answer(lower + share * (upper - lower))
        assert bool(((low - 1e-5 <= logits) & (logits <= high + 1e-5)).all())
    weight = model.network.get_parameter("1.weight")
    (gradient,) = torch.autograd.grad((high - low).sum(), weight)
    assert bool((gradient != 0).any())


def test_a_box_of_one_point_has_its_logits(traced: list[tuple[int, int, int]]) -> None:
    x = images()
    seen = seen_by(classifier().eval(), x)
    found = seen.bounds(x, x)
    for end in found.intervals[found.program.output]:
        torch.testing.assert_close(end, seen.logits)


def test_passes_are_counted(traced: list[tuple[int, int, int]]) -> None:
    x = images(6)
    seen = seen_by(classifier().eval(), x)
    with counting(PassMeter()) as one:
        seen.answer(x)
    with counting(PassMeter()) as two:
        seen.bounds(x, x)
    # Forward and, with gradients for weights, backward: once, and with bounds for centres and for radii.
    assert one.passes == 6
    assert two.passes == 12


# Boxes and checks


def test_a_box_is_within_that_of_the_pixels() -> None:
    x = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, *SHAPE)
    lower, upper = box(x, Linf("1/8"))
    assert lower.flatten().tolist() == [0.0, 0.125, 0.375, 0.875]
    assert upper.flatten().tolist() == [0.125, 0.375, 0.625, 1.0]
    lower, upper = box(x, Linf("1/8"), 0.5)
    assert lower.flatten().tolist() == [0.0, 0.1875, 0.4375, 0.9375]
    lower, upper = box(x, Linf("1/8", bounds=(-1.0, 1.0)), 0.0)
    assert torch.equal(lower, x)
    assert torch.equal(upper, x)
    assert float(box(x, Linf("1/8", bounds=(-1.0, 1.0)))[0].min()) == -0.125


def test_balls_that_are_no_boxes_are_refused_before_the_network_is_traced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tracing(*_: object) -> None:
        raise AssertionError("the network was traced")

    monkeypatch.setattr(subject, "bounded_graph", tracing)
    with pytest.raises(InputError) as caught:
        check_bounded(classifier(), SHAPE, L2("1/2"))
    assert caught.value.seen == 'certified training against L2("1/2")'
    assert caught.value.expected == "an L-inf threat: intervals are boxes"
    assert "train by attacks (TRADES)" in caught.value.instead
    with pytest.raises(InputError, match="certified training against"):
        box(images(), L2("1/2"))


def test_a_network_whose_operations_have_rules_is_taken(traced: list[tuple[int, int, int]]) -> None:
    check_bounded(classifier(), SHAPE, Linf("1/8"))
    assert traced == [SHAPE]


def test_an_operation_without_a_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Builder(SHAPE)
    net.add("Flatten")
    net.add("LayerNormalization", net.constant(torch.ones(4).numpy()), axis=-1)
    net.dense(4, 3)
    graph = LiveGraph(read(net.model()), {}, {})
    monkeypatch.setattr(LiveGraph, "of", lambda model, image_shape: graph)
    with pytest.raises(InputError, match="LayerNormalization"):
        bounded_graph(classifier(), SHAPE)


# Weights that are drawn anew


class Layers(nn.Module):
    """A layer of each kind that is drawn, one that is held still, and one that is neither."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 64, 3), nn.BatchNorm2d(64)
        self.still, self.embedding = nn.Linear(8, 8), nn.Embedding(4, 4)
        self.head = nn.Linear(200, 50, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits


def layers() -> tuple[Layers, Classifier]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Layers()
    for weight in network.still.parameters():
        weight.requires_grad_(False)
    with torch.no_grad():
        for part in (*network.norm.parameters(), network.norm.running_mean, network.norm.running_var):
            assert part is not None
            part.fill_(3.0)
    return network, Classifier(network, head="head")


def test_weights_are_normal_with_the_deviation_of_the_paper() -> None:
    network, model = layers()
    draw_for_intervals_(model)
    for weight, inputs in ((network.conv.weight, 2 * 3 * 3), (network.head.weight, 200)):
        deviation = math.sqrt(2 * math.pi) / inputs
        n = weight.numel()
        # Of 1,000 numbers and more: five standard errors.
        assert float(weight.detach().std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * n))
        assert abs(float(weight.detach().mean())) < 5 * deviation / math.sqrt(n)
    assert network.conv.bias is not None
    assert bool((network.conv.bias == 0).all())


def test_batchnorms_are_as_when_they_are_made() -> None:
    network, model = layers()
    draw_for_intervals_(model)
    new = nn.BatchNorm2d(64)
    for name, value in network.norm.state_dict().items():
        assert torch.equal(value, new.state_dict()[name]), name


def test_what_is_held_still_and_other_layers_stay_what_they_are() -> None:
    network, model = layers()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    draw_for_intervals_(model)
    for name, value in network.state_dict().items():
        kept = name.startswith(("still", "embedding"))
        assert torch.equal(value, before[name]) is (kept or name.endswith("num_batches_tracked")), name


def test_the_draws_follow_from_torchs_seed_and_leave_its_generator_alone() -> None:
    found = []
    for seed in (7, 7, 8):
        network, model = layers()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.rand(int(torch.randint(1, 9, ())))  # wherever its generator is by now
            state = torch.get_rng_state()
            draw_for_intervals_(model)
            assert torch.equal(torch.get_rng_state(), state)
        found.append(network.head.weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not found[0].requires_grad
