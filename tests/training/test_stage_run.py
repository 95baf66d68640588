"""A stage that goes on from a snapshot ends with the very same weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from harden.attacks import PGD
from harden.data import Source, from_loader
from harden.errors import InputError
from harden.evaluation import Attempt
from harden.losses import Margin
from harden.models import Classifier
from harden.models.snapshot import Snapshot, read_snapshot, tensors_of, write_snapshot
from harden.objectives import (
    AWP,
    LIET,
    NFGSM,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    LinearProbe,
    MoCo,
    MultiNorm,
    Objective,
    PriorGuidedFGSM,
    SimCLR,
    Standard,
)
from harden.objectives.awp import without_wrappers
from harden.threats import L2, Linf
from harden.training import SGD, AdamW, Budget, Stage, StepRecord, Validation, train
from harden.training.weights.weight_averaging import weights_of
from harden.views import Views

MakeModel = Callable[..., Classifier]

THREAT = Linf("1/10")
ATTACK = PGD(steps=2, keep_best=False)
VIEWS = Views(shift=1, noise=0.05)
OBJECTIVES: list[Objective] = [
    Standard(views=VIEWS),
    LinearProbe(),
    AdversarialTraining(attack=ATTACK),
    TRADES(attack=ATTACK, views=VIEWS),
    NFGSM(views=VIEWS),
    PriorGuidedFGSM(redraw=2),
    LIET(refresh=3, views=VIEWS),
    FreeAdversarialTraining(replays=3, views=VIEWS),
    GaussianAugmentation(views=VIEWS),
    MultiNorm(AdversarialTraining(attack=ATTACK), (L2("1/2"),)),
    AWP(PriorGuidedFGSM(redraw=2), warmup=0.3),
    AWP(LIET(refresh=3), warmup=0.3),
    SimCLR(views=VIEWS, hidden=4, width=3),
    MoCo(views=VIEWS, attack=ATTACK, queue=16, hidden=4, width=3),
]
QUICK = (Attempt("margin", PGD(steps=2), Margin),)


def name_of(objective: Objective) -> str:
    """The types of an objective and of the one inside it."""
    return f"{type(objective).__name__}-{type(without_wrappers(objective)).__name__}"


def steps_of(records: list[StepRecord]) -> list[tuple[object, ...]]:
    """All of the records but the time."""
    return [
        (one.step, one.progress, one.passes, one.loss, one.learning_rate, one.eps, one.robust, one.best)
        for one in records
    ]


def interrupted(
    stage: Stage, make: Callable[[], Classifier], source: Source, after: int, path: Path, **how: Any
) -> tuple[list[StepRecord], Classifier]:
    """Train up to a step, write down, and go on with another network, as another process would."""
    first = train(stage, make(), source, THREAT, **how)
    records = [next(first) for _ in range(after)]
    write_snapshot(first.snapshot(), path)
    # What happens after the snapshot is lost with the process.
    next(first, None)
    first.close()
    model = make()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)  # nothing of the network that is handed over counts
    torch.manual_seed(after)
    random.seed(after)
    rest = list(train(stage, model, source, THREAT, start=read_snapshot(path), **how))
    return records + rest, model


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = weights_of(one), weights_of(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(
    "objective",
    OBJECTIVES,
    ids=lambda value: f"{type(value).__name__}-{type(without_wrappers(value)).__name__}",
)
@pytest.mark.parametrize("optimiser", [AdamW(3e-3), SGD(0.05)], ids=["adamw", "sgd"])
def test_it_goes_on_to_the_same_bytes_from_every_step(
    make_model: MakeModel, source: Source, objective: Objective, optimiser: AdamW, tmp_path: Path
) -> None:
    stage = Stage("one", objective, Budget.parse("2.4epochs"), optimiser=optimiser, average=0.9)
    whole = make_model()
    records = list(train(stage, whole, source, THREAT, seed=5))
    assert len(records) > 8
    for after in (1, 4, 5, 6, len(records) - 1, len(records)):
        found, model = interrupted(stage, make_model, source, after, tmp_path / "snapshot", seed=5)
        assert steps_of(found) == steps_of(records)
        assert same(model, whole)


@given(after=st.integers(1, 1000), amount=st.sampled_from(["20E", "55E"]), average=st.sampled_from([0, 0.9]))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_validated_stages_keep_the_same_best_weights(
    make_model: MakeModel, source: Source, tmp_path: Path, after: int, amount: str, average: float
) -> None:
    stage = Stage("one", AdversarialTraining(attack=ATTACK), Budget.parse(amount), average=average)
    how = {"validation": Validation(source, THREAT, QUICK), "seed": 1}
    whole = make_model()
    records = list(train(stage, whole, source, THREAT, **how))  # type: ignore[arg-type]  # a dict of keywords
    place = tmp_path / "snapshot"
    found, model = interrupted(stage, make_model, source, 1 + after % len(records), place, **how)
    assert steps_of(found) == steps_of(records)
    assert same(model, whole)


class Noisy(Dataset[tuple[Tensor, int]]):
    """Transforms that draw from all three global generators, as users' do."""

    targets = [number % 2 for number in range(24)]  # noqa: RUF012  # as torchvision's sets have it

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        drawn = torch.rand(1, 6, 6) + float(np.random.rand()) + random.random()
        return (drawn + index % 2).clamp(0, 4) / 4, index % 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_with_random_transforms_gives_the_same_batches_again(
    make_model: MakeModel, tmp_path: Path, workers: int
) -> None:
    source = from_loader(DataLoader(Noisy(), batch_size=5, num_workers=workers))
    stage = Stage("one", Standard(), Budget.parse("2epochs"))
    whole = make_model()
    records = list(train(stage, whole, source, THREAT, seed=5))
    for after in (2, 7):
        found, model = interrupted(stage, make_model, source, after, tmp_path / "snapshot", seed=5)
        assert steps_of(found) == steps_of(records)
        assert same(model, whole)


class Counting(nn.Module):
    """A network with a buffer that its state_dict leaves out, and weights in two places."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.first = nn.Linear(36, 36)
        self.second = nn.Linear(36, 36)
        self.second.weight = self.first.weight
        self.head = nn.Linear(36, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        logits: Tensor = self.head(self.second(self.first(x.flatten(1))) / (1 + self.seen))
        return logits


def test_buffers_outside_the_state_dict_and_tied_weights_go_on_too(source: Source, tmp_path: Path) -> None:
    def make() -> Classifier:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Classifier(Counting())

    stage = Stage("one", Standard(), Budget.parse("2epochs"), average=0.0)
    whole = make()
    records = list(train(stage, whole, source, THREAT))
    found, model = interrupted(stage, make, source, 3, tmp_path / "snapshot")
    assert steps_of(found) == steps_of(records)
    assert same(model, whole)
    network = model.network
    assert isinstance(network, Counting)
    assert network.first.weight is network.second.weight
    assert float(network.seen) == len(records)


def test_time_that_was_spent_counts_after_a_resume(
    make_model: MakeModel, source: Source, tmp_path: Path
) -> None:
    stage = Stage("one", Standard(), Budget.parse("100s"))
    first = train(stage, make_model(), source, THREAT)
    next(first)
    kept = first.snapshot()
    kept.facts["seconds"] = 99.9999
    record = next(train(stage, make_model(), source, THREAT, start=kept))
    assert record.step == 2
    assert record.progress == 1.0
    assert record.seconds >= 99.9999


def test_a_snapshot_before_the_first_step_is_refused(make_model: MakeModel, source: Source) -> None:
    training = train(Stage("one", Standard(), Budget.parse("1epochs")), make_model(), source, THREAT)
    with pytest.raises(InputError, match="before the first step"):
        training.snapshot()


def test_a_snapshot_of_another_network_is_refused(make_model: MakeModel, source: Source) -> None:
    stage = Stage("one", Standard(), Budget.parse("1epochs"))
    first = train(stage, make_model(), source, THREAT)
    next(first)
    other = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)))
    with pytest.raises(InputError, match="differs from the network at"):
        next(train(stage, other, source, THREAT, start=first.snapshot()))


def test_modules_held_in_inference_mode_stay_in_it(make_model: MakeModel, source: Source) -> None:
    model = make_model()
    norm = model.network[1]  # type: ignore[index]  # a Sequential
    assert isinstance(norm, nn.BatchNorm2d)
    norm.eval()
    before = {name: value.clone() for name, value in norm.named_buffers()}
    list(train(Stage("one", Standard(), Budget.parse("1epochs")), model, source, THREAT))
    assert all(torch.equal(value, before[name]) for name, value in norm.named_buffers())
    assert not norm.training
    # A network as a whole in inference mode is one that was loaded, not one that is held still.
    model.eval()
    list(train(Stage("one", Standard(), Budget.parse("1epochs")), model, source, THREAT))
    assert not all(torch.equal(value, before[name]) for name, value in norm.named_buffers())


def test_a_stage_counts_its_budget_in_the_images_it_is_told(make_model: MakeModel, source: Source) -> None:
    stage = Stage("one", Standard(), Budget.parse("2epochs"), images=20)
    records = list(train(stage, make_model(), source, THREAT))
    assert records[-1].examples == 40
    assert records[-1].passes == 2


def test_tensors_of_names_every_weight(make_model: MakeModel) -> None:
    model = make_model()
    assert tensors_of(model).keys() == model.state_dict().keys()
    assert Snapshot({"a.b": torch.ones(1), "ab.c": torch.ones(2)}).part("a").keys() == {"b"}


class Adaptive(torch.optim.SGD):
    """Keeps what it has learnt in its parameter groups, as optimisers without a schedule do."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["count"] = group.get("count", 0) + 1
            group["lr"] = group["lr"] / group["count"]
        return super().step(closure)


class Custom:
    lr = 0.05

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        return Adaptive([weight for weight in module.parameters() if weight.requires_grad], lr=self.lr)


def test_what_an_optimiser_keeps_in_its_groups_goes_on(
    make_model: MakeModel, source: Source, tmp_path: Path
) -> None:
    stage = Stage("one", Standard(), Budget.parse("2epochs"), optimiser=Custom())
    whole = make_model()
    records = list(train(stage, whole, source, THREAT, seed=5))
    found, model = interrupted(stage, make_model, source, 4, tmp_path / "snapshot", seed=5)
    assert steps_of(found) == steps_of(records)
    assert same(model, whole)


def test_a_refused_start_gives_the_flags_back(make_model: MakeModel, source: Source) -> None:
    model = make_model()
    flags = [weight.requires_grad for weight in model.parameters()]
    stage = Stage("one", LinearProbe(), Budget.parse("1epochs"))
    with pytest.raises(InputError, match="differs from the network"):
        next(train(stage, model, source, THREAT, start=Snapshot({}, {})))
    assert [weight.requires_grad for weight in model.parameters()] == flags


class Extra(nn.Module):
    """Adds a value that is no tensor to its state_dict."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(36, 2)

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"version": 1}

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits


def test_a_network_with_extra_state_trains(source: Source) -> None:
    model = Classifier(Extra())
    before = weights_of(model)
    list(train(Stage("one", Standard(), Budget.parse("1epochs")), model, source, THREAT))
    assert before.keys() == {"network.head.weight", "network.head.bias"}
    assert not same(model, Classifier(Extra()))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
def test_every_objective_trains_on_a_cuda_device(
    make_model: MakeModel, source: Source, objective: Objective
) -> None:
    model = make_model().to("cuda")
    records = list(train(Stage("one", objective, Budget.parse("2epochs")), model, source, THREAT, seed=5))
    assert all(record.loss == record.loss for record in records)
    assert {value.device.type for value in model.parameters()} == {"cuda"}
