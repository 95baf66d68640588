"""Hardening from data to a model: budget, streams, held-out images, and what is refused before."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from harden.attacks import PGD
from harden.data import Batch, Source, from_loader
from harden.errors import DivergedError, InputError
from harden.hardening import Hardened, Recipe, harden
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import TRADES, AdversarialTraining, LinearProbe, MoCo, SimCLR, Standard, Step
from harden.objectives.objective import ClassifierState
from harden.threats import Linf
from harden.training import SGD, AdamW, Budget, StepRecord
from harden.training.weights.weight_averaging import weights_of
from harden.views import DIGITS

THREAT = Linf("0.1")
SHORT = PGD(steps=2, step_size=0.75, keep_best=False)
RECIPES = {
    "trades": Recipe(TRADES(attack=SHORT), validations=2, validation_share=1.0),
    "simclr-madry": Recipe(
        AdversarialTraining(SHORT),
        SimCLR(views=DIGITS, hidden=16, width=8),
        validations=2,
        validation_share=1.0,
    ),
    "moco-probe": Recipe(
        LinearProbe(),
        MoCo(views=DIGITS, queue=64, hidden=16, width=8),
        pretrain_share=0.5,
        validations=2,
        validation_share=1.0,
    ),
    "adversarial-simclr": Recipe(
        AdversarialTraining(SHORT),
        SimCLR(views=DIGITS, attack=SHORT, hidden=16, width=8),
        pretrain_share=0.4,
        validations=2,
        validation_share=1.0,
    ),
}


def run(model: Classifier, data: object, recipe: Recipe | None = None, **options: Any) -> Hardened:
    source = from_loader(data, 50) if isinstance(data, tuple) else data
    options.setdefault("budget", "8E")
    return harden(model, source, threat=THREAT, recipe=recipe or RECIPES["trades"], **options)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class AsFound:
    """What a model looked like, to be compared with later."""

    def __init__(self, model: Classifier) -> None:
        self.model, self.weights = model, weights_of(model)
        self.modes = [part.training for part in model.modules()]
        self.flags = [weight.requires_grad for weight in model.parameters()]
        self.memory = [id(weight) for weight in model.parameters()]
        self.hooks = [len(part._forward_pre_hooks) for part in model.modules()]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AsFound)
            and equal(self.weights, other.weights)
            and (self.modes, self.flags, self.memory, self.hooks)
            == (other.modes, other.flags, other.memory, other.hooks)
            and all(weight.grad is None for weight in self.model.parameters())
        )

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", RECIPES)
def test_returns_a_hardened_copy_and_the_account_of_it(
    model: Classifier, data: tuple[Tensor, Tensor], name: str
) -> None:
    model.network.get_submodule("1").eval()
    model.network.get_submodule("3").requires_grad_(False)
    before = AsFound(model)
    told: list[StepRecord] = []
    random_state = torch.get_rng_state(), random.getstate()
    hardened = run(model, data, RECIPES[name], seed=3, on_step=told.append)
    assert AsFound(model) == before
    assert torch.equal(torch.get_rng_state(), random_state[0])
    assert random.getstate() == random_state[1]
    assert hardened.before is model
    assert hardened.model is not model
    assert not equal(weights_of(hardened.model), weights_of(model))
    assert not any(part.training for part in hardened.model.modules())
    assert all(weight.grad is None for weight in hardened.model.parameters())
    # No memory is shared with the user's model.
    own = {value.data_ptr() for value in model.state_dict().values()}
    assert not own & {value.data_ptr() for value in hardened.model.state_dict().values()}
    origin = hardened.origin
    two = RECIPES[name].pretrain is not None
    assert [stage.name for stage in origin.stages] == (["pretrain"] if two else []) + ["finetune"]
    # Sums of E meet the budget, up to the last batch and its validation.
    total = sum(stage.epochs_equivalent for stage in origin.stages)
    last = max(after.passes - before.passes for before, after in itertools.pairwise(told))
    assert 8 - 1e-6 <= total <= 8 + last + 1e-6
    # A batch of 50 of 180 images at 4 1/3 passes each, and a validation of 20 at 11 1/3 at most.
    assert last <= (50 * (4 + 1 / 3) + 20 * (11 + 1 / 3)) / 180
    for stage in origin.stages:
        assert stage.passes == pytest.approx(stage.epochs_equivalent * 180)
        assert stage.seconds > 0
    if two:
        share = RECIPES[name].pretrain_share
        assert 8 * share - 1e-6 <= origin.stages[0].epochs_equivalent < 8 * share + 1.5
    # The history tells each stage, and at its end what was kept.
    assert {point.stage for point in origin.history} == {stage.name for stage in origin.stages}
    measured = [point for point in origin.history if point.robust is not None]
    assert len(measured) >= 2
    assert all(point.stage == "finetune" for point in measured)
    reported = [record.robust for record in told if record.robust is not None]
    assert [point.robust for point in measured] == reported
    assert origin.deterministic
    assert origin.seeds == {"seed": 3}
    assert origin.recipe is not None
    assert origin.recipe["budget"] == "8E"
    assert origin.device == "cpu"


@pytest.mark.parametrize("name", RECIPES)
def test_the_seed_alone_decides_the_weights(
    model: Classifier, data: tuple[Tensor, Tensor], name: str
) -> None:
    results = []
    for noise, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(noise)
        results.append(weights_of(run(model, data, RECIPES[name], seed=seed, budget="6E").model))
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])


def test_the_model_holds_the_weights_of_its_best_validation(
    model: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    told: list[StepRecord] = []
    recipe = Recipe(AdversarialTraining(SHORT), optimiser=AdamW(lr=0.01), validations=6)
    hardened = run(model, data, recipe, budget="40E", on_step=told.append)
    best = [record for record in told if record.best][-1]
    scores = [(record.robust, record.clean) for record in told if record.robust is not None]
    assert (best.robust, best.clean) == max(scores)
    before = hardened.before
    clean = [
        float((each.eval().logits(data[0]).argmax(1) == data[1]).float().mean())
        for each in (copy.deepcopy(before), hardened.model)
    ]
    assert clean[1] > clean[0] + 0.4


class Spy:
    """An objective that notes which images it is shown."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.seeds: set[int] = set()
        self.n = 0

    def start(self, model: Classifier, n: int) -> nn.Module:
        self.n = n
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        self.seen.append(batch.x.clone())
        self.seeds.add(step.seed)
        return Standard()(state, batch, step)


def test_stages_and_seeds_never_share_a_stream(model: Classifier, data: tuple[Tensor, Tensor]) -> None:
    spies = [Spy() for _ in range(4)]
    for seed, (first, last) in enumerate((spies[:2], spies[2:])):
        run(model, data, Recipe(last, first, validations=1), budget="2epochs", seed=seed)
    assert all(len(spy.seeds) == 1 for spy in spies)
    assert len(set.union(*(spy.seeds for spy in spies))) == 4


@pytest.mark.parametrize("held_out", [0.1, 0.3])
def test_held_out_images_are_never_trained_on(
    model: Classifier, data: tuple[Tensor, Tensor], held_out: float
) -> None:
    # A mark that is each image's own: the corner pixel.
    x = data[0].clone()
    x[:, 0, 0, 0] = torch.arange(200) / 256
    first, last = Spy(), Spy()
    run(model, (x, data[1]), Recipe(last, first, held_out=held_out, validations=1), budget="4epochs")
    shown = [set((torch.cat(spy.seen)[:, 0, 0, 0] * 256).tolist()) for spy in (first, last)]
    assert first.n == last.n == 200 - round(200 * held_out)
    assert len(shown[1]) == first.n
    assert shown[0] <= shown[1]


@pytest.mark.parametrize("budget", ["4epochs", "3.2epochs"])
def test_epochs_count_images_and_not_batches(
    model: Classifier, data: tuple[Tensor, Tensor], budget: str
) -> None:
    # 180 images in batches of 128: 128 and 52, so that batches times batch size is another number.
    told: list[StepRecord] = []
    source = from_loader(data, 128)
    recipe = Recipe(Standard(), Standard(), pretrain_share=0.5, validations=1)
    harden(model, source, threat=THREAT, recipe=recipe, budget=budget, on_step=told.append)
    ends = [[record for record in told if record.stage == name][-1] for name in ("pretrain", "finetune")]
    amount = Budget.parse(budget).amount
    assert amount / 2 <= ends[0].examples / 180 < amount / 2 + 128 / 180
    assert amount <= sum(end.examples for end in ends) / 180 + 1e-9 < amount + 128 / 180 + 1e-9


def test_pretraining_that_spends_everything_is_an_error(
    model: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    before = AsFound(model)
    with pytest.raises(InputError, match="pretraining has used up") as caught:
        run(model, data, RECIPES["adversarial-simclr"], budget="0.3E")
    assert "larger budget" in caught.value.instead
    assert AsFound(model) == before


def test_a_budget_in_time_stops_and_is_not_called_deterministic(
    model: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    told: list[StepRecord] = []
    hardened = run(model, data, budget="3s", on_step=told.append)
    assert not hardened.origin.deterministic
    assert told[-1].progress == 1.0
    # What is left for a last validation may end the stage before it: see test_deadline.py, with a fake clock.
    assert hardened.origin.stages[0].seconds > 0
    assert hardened.origin.recipe is not None
    assert hardened.origin.recipe["budget"] == "3s"


def test_a_loader_serves_as_well_as_tensors(model: Classifier, data: tuple[Tensor, Tensor]) -> None:
    shuffled = DataLoader(TensorDataset(*data), batch_size=50, shuffle=True)
    of_loader, of_tensors = run(model, shuffled), run(model, data)
    assert equal(weights_of(of_loader.model), weights_of(of_tensors.model))


def test_divergence_leaves_the_users_model_alone(model: Classifier, data: tuple[Tensor, Tensor]) -> None:
    before = AsFound(model)
    recipe = Recipe(Standard(), optimiser=AdamW(lr=1e30), average=0.0)
    with pytest.raises(DivergedError, match="learning rate"):
        run(model, data, recipe, budget="20epochs")
    assert AsFound(model) == before


RUINOUS = Recipe(
    Standard(), optimiser=SGD(lr=50.0), average=0.0, max_clean_drop=0.05, validations=2, held_out=0.3
)


@pytest.fixture
def trained(model: Classifier, data: tuple[Tensor, Tensor]) -> Classifier:
    """A network that knows the training images."""
    plain = Recipe(Standard(), optimiser=AdamW(lr=0.01), validations=0)
    return run(model, data, plain, budget="12epochs").model


def test_a_limit_that_no_weights_meet_keeps_the_network(
    trained: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    hardened = run(trained, data, RUINOUS, budget="2epochs")
    assert equal(weights_of(hardened.model), weights_of(trained))
    assert hardened.unmet.startswith("no weights were more robust than the original ones (")
    assert hardened.origin.history[-1].event == f"clean accuracy: {hardened.unmet}"


def test_weights_within_the_limit_are_kept(trained: Classifier, data: tuple[Tensor, Tensor]) -> None:
    recipe = replace(
        RUINOUS, finetune=AdversarialTraining(SHORT), optimiser=AdamW(lr=1e-3), max_clean_drop=0.5
    )
    hardened = run(trained, data, recipe, budget="12epochs")
    assert hardened.unmet == ""
    assert not equal(weights_of(hardened.model), weights_of(trained))


def test_the_limit_is_on_the_network_before_pretraining(
    trained: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    recipe = replace(RUINOUS, pretrain=SimCLR(views=DIGITS, hidden=16, width=8))
    hardened = run(trained, data, recipe, budget="6epochs")
    assert equal(weights_of(hardened.model), weights_of(trained))
    assert hardened.unmet


def test_a_limit_below_one_held_out_image_is_refused(model: Classifier, data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match=r"max_clean_drop 0\.01 with 60 held-out images") as caught:
        run(model, data, replace(RUINOUS, max_clean_drop=0.01))
    assert "write max_clean_drop=0.017 or larger" in caught.value.instead


def test_an_exception_in_the_users_callback_leaves_the_users_model_alone(
    model: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    before = AsFound(model)

    def stop(record: StepRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, data, on_step=stop)
    assert AsFound(model) == before


# What is unfit is said before anything is spent


class Untrainable:
    """An objective that must not be reached."""

    def start(self, model: Classifier, n: int) -> nn.Module:
        raise AssertionError("training began")

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        raise AssertionError("training began")


def refused(model: Any, data: object, threat: Linf = THREAT, budget: str = "8E") -> InputError:
    with pytest.raises(InputError) as caught:
        harden(model, data, threat=threat, recipe=Recipe(Untrainable()), budget=budget)
    error = caught.value
    assert error.seen
    assert error.expected
    assert error.instead
    return error


@pytest.mark.parametrize("thing", [small_cnn(), "resnet18", None], ids=["module", "name", "none"])
def test_what_is_no_classifier_is_refused(thing: object, data: tuple[Tensor, Tensor]) -> None:
    error = refused(thing, data)
    assert error.seen == f"a {type(thing).__name__}"
    assert "harden.Classifier" in error.expected
    assert "mean=" in error.instead


def test_a_loader_of_one_channel_for_a_network_of_three_is_refused(data: tuple[Tensor, Tensor]) -> None:
    error = refused(Classifier(small_cnn(in_channels=3)), data)
    assert "(1, 8, 8)" in error.seen


def test_a_normalisation_does_not_turn_grey_images_into_coloured_ones(data: tuple[Tensor, Tensor]) -> None:
    # (x - mean) / std would broadcast one channel to three without a word.
    coloured = Classifier(small_cnn(in_channels=3), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))
    error = refused(coloured, data)
    assert "1 channels" in error.seen
    assert "mean of 3" in error.seen


def test_images_of_another_size_are_refused(model: Classifier, data: tuple[Tensor, Tensor]) -> None:
    error = refused(model, (data[0].repeat(1, 1, 2, 2), data[1]))
    assert "(1, 16, 16)" in error.seen


class Listed(Dataset[tuple[Tensor, int]]):
    """A dataset that shows its labels only with its images."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.x[index], int(self.y[index])


def forms(x: Tensor, y: Tensor) -> list[object]:
    """The same data as tensors, loader, loader without stored labels, and an iterable of batches."""
    return [
        (x, y),
        DataLoader(TensorDataset(x, y), batch_size=16),
        DataLoader(Listed(x, y), batch_size=16),
        iter([(x[:100], y[:100]), (x[100:], y[100:])]),
    ]


FORMS = ["tensors", "loader", "opaque-loader", "iterable"]


@pytest.mark.parametrize("form", range(4), ids=FORMS)
@pytest.mark.parametrize("where", [0, 199], ids=["first", "last"])
@pytest.mark.parametrize("label", [10, -1])
def test_a_label_out_of_range_is_found_wherever_it_is(
    model: Classifier, data: tuple[Tensor, Tensor], form: int, where: int, label: int
) -> None:
    y = data[1].clone()
    y[where] = label
    assert str(label) in refused_form(model, data[0], y, form).seen


def refused_form(model: Classifier, x: Tensor, y: Tensor, form: int) -> InputError:
    """The error, even where reading the data alone already raises it."""
    try:
        given = forms(x, y)[form]
    except InputError as error:
        return error
    return refused(model, given)


@pytest.mark.parametrize("form", range(4), ids=FORMS)
def test_one_class_alone_is_refused(model: Classifier, data: tuple[Tensor, Tensor], form: int) -> None:
    error = refused_form(model, data[0], torch.full((200,), 3), form)
    assert "all 3" in error.seen
    assert "two classes" in error.expected


@pytest.mark.parametrize("form", range(4), ids=FORMS)
def test_pixels_that_are_none_are_refused(model: Classifier, data: tuple[Tensor, Tensor], form: int) -> None:
    assert "255" in refused_form(model, data[0] * 255, data[1], form).instead
    assert "normalis" in refused_form(model, (data[0] - 0.3) / 0.1, data[1], form).instead
    broken = data[0].clone()
    broken[0, 0, 0, 0] = torch.nan
    assert "NaN" in str(refused_form(model, broken, data[1], form))


@pytest.mark.parametrize("empty", ["tensors", "iterable", "loader", "source"])
def test_no_data_is_refused(model: Classifier, empty: str) -> None:
    x, y = torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64)

    class Nothing:
        """A user's own source without a batch."""

        batch_size = 4

        def __len__(self) -> int:
            return 0

        def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
            return iter(())

        def hold_out(self, fraction: float, seed: int) -> tuple[Source, Source]:
            raise AssertionError("reached the split")

        def describe(self) -> str:
            return "nothing"

    given: dict[str, object] = {
        "tensors": (x, y),
        "iterable": iter([]),
        "loader": DataLoader(TensorDataset(x, y)),
        "source": Nothing(),
    }
    refused(model, given[empty])


def test_what_is_no_data_at_all_is_refused(model: Classifier) -> None:
    assert "DataLoader" in refused(model, 3).instead


@pytest.mark.parametrize("budget", ["", "10", "10 parsecs", "-3E"])
def test_a_budget_that_says_nothing_is_refused(
    model: Classifier, data: tuple[Tensor, Tensor], budget: str
) -> None:
    assert "10min" in refused(model, data, budget=budget).instead


def test_a_recipes_stage_is_checked_before_training(model: Classifier, data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match="ramp 2"):
        run(model, data, Recipe(Untrainable(), ramp=2.0))


def test_an_error_on_the_way_leaves_the_users_model_alone(
    model: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    model.network.get_submodule("1").eval()
    before = AsFound(model)
    refused(model, (data[0] * 255, data[1]))
    refused(model, (data[0], torch.full((200,), 3)))
    refused(model, (data[0].repeat(1, 3, 1, 1), data[1]))
    assert AsFound(model) == before


@pytest.mark.parametrize("fault", ["pixels", "type", "shape"])
def test_a_users_own_source_is_checked_too(
    model: Classifier, data: tuple[Tensor, Tensor], fault: str
) -> None:
    x = {"pixels": data[0] * 255, "type": (data[0] * 255).byte(), "shape": data[0][:, 0]}[fault]

    class Own:
        """Gives batches that harden's own sources would have refused."""

        batch_size = 200

        def __len__(self) -> int:
            return 200

        def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
            return iter([Batch(x, data[1], torch.arange(200))])

        def hold_out(self, fraction: float, seed: int) -> tuple[Source, Source]:
            raise AssertionError("reached the split")

        def describe(self) -> str:
            return "own"

    expected = "(N, C, H, W)" if fault == "shape" else "pixels in [0, 1]"
    assert expected in refused(model, Own()).expected


@pytest.mark.parametrize(
    ("budget", "seen"), [("0.9epochs", "one epoch costs 1epochs"), ("2.9E", "one epoch costs 3E")]
)
def test_a_budget_below_one_epoch_is_refused_after_one_step(
    model: Classifier, data: tuple[Tensor, Tensor], budget: str, seen: str
) -> None:
    told: list[StepRecord] = []
    recipe = Recipe(AdversarialTraining(SHORT), validations=2, validation_share=1.0)
    with pytest.raises(InputError) as caught:
        harden(model, from_loader(data, 40), threat=THREAT, recipe=recipe, budget=budget, on_step=told.append)
    assert seen in caught.value.seen
    assert "at least one epoch" in caught.value.expected
    assert "times as large" in caught.value.instead
    assert told == []


def test_validations_that_leave_less_than_an_epoch_are_refused_after_one_step_or_at_the_end(
    model: Classifier, data: tuple[Tensor, Tensor]
) -> None:
    told: list[StepRecord] = []
    half = Recipe(AdversarialTraining(SHORT), validations=10, validation_share=1.0, held_out=0.5)
    with pytest.raises(InputError) as caught:  # an epoch is 3E, ten forwards of as many images are 3.3E
        harden(model, from_loader(data, 10), threat=THREAT, recipe=half, budget="4E", on_step=told.append)
    assert "one epoch costs 3E and its validations at least" in caught.value.seen
    assert "times as large" in caught.value.instead
    assert "fewer validations" in caught.value.instead
    assert told == []
    with pytest.raises(InputError) as caught:  # those of a network that stands for some steps cost more
        harden(model, from_loader(data, 10), threat=THREAT, recipe=half, budget="6.6E", on_step=told.append)
    assert "of an epoch in addition to the" in caught.value.seen
    assert "fewer validations" in caught.value.instead
    assert told
    enough = harden(
        model, from_loader(data, 10), threat=THREAT, recipe=replace(half, validations=1), budget="6.6E"
    )
    assert enough.origin.stages[0].epochs_equivalent >= 6.6


class Typed(nn.Module):
    """Names its type, and so can't follow a copy in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1).to(torch.bfloat16))
        return logits


def test_a_forward_that_names_its_type_is_refused_with_the_reason(data: tuple[Tensor, Tensor]) -> None:
    error = refused(Classifier(Typed().to(torch.bfloat16)), data)
    assert "a network that fails with float32 weights (" in error.seen
    assert error.instead == "write x.to(self.weight.dtype) instead of a fixed type"


def test_a_network_that_fails_on_a_single_image_is_refused_before_training(
    data: tuple[Tensor, Tensor],
) -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 1)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(x.flatten(1)).squeeze()
            return logits

    error = refused(Classifier(Squeezed()), (data[0], data[1] % 2))
    assert "shape ()" in error.seen


def test_a_normalisation_in_255ths_is_refused() -> None:
    with pytest.raises(InputError, match=r"mean \(123\.7,\); .*; divide mean and std by 255") as caught:
        Classifier(small_cnn(), mean=(123.7,), std=(58.4,))
    assert caught.value.instead.endswith("write mean=(0.485,)")
