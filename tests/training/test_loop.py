"""The loop: budgets, schedules, seeds, validation, and the model as it was after an error."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch, Source
from harden.errors import DivergedError, InputError
from harden.evaluation import Attempt
from harden.models import Classifier
from harden.objectives import AdversarialTraining, LinearProbe, MoCo, Objective, SimCLR, Standard, Step
from harden.objectives.objective import ClassifierState
from harden.threats import Linf
from harden.training import SGD, AdamW, Budget, Cosine, Stage, StepRecord, Validation, train
from harden.training.weights import checkpoint_selection as selection_module
from harden.training.weights.weight_averaging import weights_of
from harden.views import Views

THREAT = Linf("0.1")
MADRY = AdversarialTraining(PGD(steps=2, keep_best=False))
NOISY = Views(shift=1, noise=0.05)
QUICK = (Attempt("pgd-2", PGD(steps=2)),)

MakeModel = Callable[..., Classifier]


def stage(objective: Objective | None = None, budget: str = "2epochs", **options: Any) -> Stage:
    return Stage("test", objective or Standard(), Budget.parse(budget), **options)


def run(model: Classifier, source: Source, wanted: Stage, **options: Any) -> list[StepRecord]:
    return list(train(wanted, model, source, THREAT, **options))


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Budget and progress


@pytest.mark.parametrize("budget", ["3epochs", "0.5epochs", "3E", "7.3E"])
@pytest.mark.parametrize("objective", [Standard(), MADRY], ids=["standard", "madry"])
def test_progress_rises_to_one_and_the_budget_ends_within_a_batch(
    model: Classifier, source: Source, objective: Objective, budget: str
) -> None:
    records = run(model, source, stage(objective, budget))
    progress = [record.progress for record in records]
    assert progress == sorted(progress)
    assert all(0 < share < 1 for share in progress[:-1])
    assert progress[-1] == 1.0
    assert [record.step for record in records] == list(range(1, len(records) + 1))
    amount = Budget.parse(budget).amount
    spent = [record.passes if budget.endswith("E") else record.examples / len(source) for record in records]
    assert spent == sorted(spent)
    largest = max(after - before for before, after in zip([0.0, *spent], spent, strict=False))
    assert amount - 1e-9 <= spent[-1] < amount + largest
    per_image = 1 if isinstance(objective, Standard) else 3
    assert records[-1].passes == pytest.approx(per_image * records[-1].examples / len(source))


def test_validation_counts_against_the_budget(model: Classifier, source: Source) -> None:
    validation = Validation(source, THREAT, QUICK)
    records = run(model, source, stage(budget="30E", validations=3), validation=validation)
    measured = [record for record in records if record.robust is not None]
    assert len(measured) >= 3
    cheapest = 48 / 3 / 48  # the clean forward of one validation
    assert records[-1].passes > records[-1].examples / 48 + len(measured) * cheapest
    assert records[-1].progress == 1.0
    largest = max(after.passes - before.passes for before, after in itertools.pairwise(records))
    assert 30 <= records[-1].passes + 1e-9 < 30 + largest + 1e-6


@pytest.mark.parametrize("budget", ["40E", "20epochs"])
def test_validations_take_no_more_than_their_share_but_for_the_last(
    model: Classifier, source: Source, budget: str
) -> None:
    validation = Validation(source, THREAT, QUICK)
    wanted = stage(budget=budget, validations=10, validation_share=0.5)
    records = run(model, source, wanted, validation=validation)
    measured = [number for number, record in enumerate(records) if record.robust is not None]
    assert measured[-1] == len(records) - 1
    assert 2 <= len(measured) < 10
    assert records[-2].validating <= 0.5 * records[-1].passes
    assert records[measured[0]].progress > 0.2, "the earlier ones are left out first"
    everything = run(model, source, stage(budget=budget, validations=10), validation=validation)
    assert sum(record.robust is not None for record in everything) > len(measured)


def test_a_time_budget_stops(model: Classifier, source: Source) -> None:
    records = run(model, source, stage(budget="0.2s"))
    assert records[-1].progress == 1.0
    assert records[-1].seconds >= 0.2
    assert len(records) > 1
    assert not Budget.parse("0.2s").deterministic


def test_every_example_is_seen_once_an_epoch_in_another_order(model: Classifier, source: Source) -> None:
    seen: list[Tensor] = []

    class Spy:
        def start(self, model: Classifier, n: int) -> nn.Module:
            assert n == 48
            return ClassifierState(model)

        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            seen.append(batch.index.clone())
            return Standard()(state, batch, step)

    run(model, source, stage(Spy(), "2epochs"))
    first, second = torch.cat(seen[:5]), torch.cat(seen[5:])
    assert first.sort().values.tolist() == list(range(48)) == second.sort().values.tolist()
    assert not torch.equal(first, second)


# Schedules


def test_eps_ramps_from_zero_to_the_full_budget_exactly(model: Classifier, source: Source) -> None:
    seen: list[Fraction] = []

    class Spy:
        def start(self, model: Classifier, n: int) -> nn.Module:
            return ClassifierState(model)

        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            seen.append(step.threat.eps)
            return Standard()(state, batch, step)

    records = run(model, source, stage(Spy(), "4epochs", ramp=0.5))
    before = [0.0] + [record.progress for record in records[:-1]]
    assert seen[0] == 0
    assert seen == sorted(seen)
    for progress, eps in zip(before, seen, strict=True):
        if progress >= 0.5:
            assert eps == Fraction(1, 10)
        else:
            assert float(eps) == pytest.approx(0.1 * progress / 0.5, rel=1e-9)
    assert [record.eps for record in records] == [float(eps) for eps in seen]
    assert seen.count(Fraction(1, 10)) >= len(seen) // 2
    seen.clear()
    run(model, source, stage(Spy(), "1epochs", ramp=0.0))
    assert set(seen) == {Fraction(1, 10)}


def test_the_learning_rate_of_each_step_follows_the_schedule(model: Classifier, source: Source) -> None:
    records = run(model, source, stage(budget="4epochs", optimiser=AdamW(lr=0.02), schedule=Cosine(0.25)))
    before = [0.0] + [record.progress for record in records[:-1]]
    assert [record.learning_rate for record in records] == pytest.approx(
        [0.02 * Cosine(0.25)(progress) for progress in before]
    )
    assert max(record.learning_rate for record in records) == pytest.approx(0.02, rel=0.02)
    assert records[-1].learning_rate < 0.001


def test_the_learning_rate_is_the_one_that_is_applied(make_model: MakeModel, source: Source) -> None:
    # Plain gradient descent: one step moves a weight by rate times its gradient.
    model = make_model(dropout=0.0)
    before = weights_of(model)
    batch = next(iter(source.epoch(torch.Generator().manual_seed(0))))
    wanted = stage(
        budget="0.1epochs",
        optimiser=SGD(lr=0.4, momentum=0.0, weight_decay=0.0),
        schedule=Cosine(0.0),
        average=0.0,
        clip=1e9,
    )
    seen: list[Batch] = []

    class Spy:
        def start(self, model: Classifier, n: int) -> nn.Module:
            return ClassifierState(model)

        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            seen.append(batch)
            return Standard()(state, batch, step)

    records = run(model, source, replace(wanted, objective=Spy()))
    assert len(records) == len(seen) == 1
    assert len(batch) == len(seen[0])
    fresh = make_model(dropout=0.0).train()
    loss = nn.functional.cross_entropy(fresh.logits(seen[0].x), seen[0].y)
    gradients = torch.autograd.grad(loss, list(fresh.parameters()))
    assert records[0].loss == pytest.approx(float(loss.detach()), rel=1e-6)
    for (name, weight), gradient in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(weight.detach(), before[name] - 0.4 * gradient)


def test_gradients_are_clipped_to_the_stages_length(make_model: MakeModel, source: Source) -> None:
    model = make_model()
    before = weights_of(model)
    options: dict[str, Any] = {
        "optimiser": SGD(lr=1.0, momentum=0.0, weight_decay=0.0),
        "schedule": Cosine(0.0),
        "average": 0.0,
    }
    run(model, source, stage(budget="0.1epochs", clip=1e-3, **options))
    moved = torch.cat([(weight - before[name]).flatten() for name, weight in model.named_parameters()])
    assert float(moved.detach().norm()) == pytest.approx(1e-3, rel=1e-2)


# Determinism


STOCHASTIC: list[Objective] = [
    AdversarialTraining(PGD(steps=2), views=NOISY),
    SimCLR(views=NOISY, hidden=6, width=4),
    MoCo(views=NOISY, hidden=6, width=4, queue=16, attack=PGD(steps=2)),
]


@pytest.mark.parametrize("objective", STOCHASTIC, ids=["madry", "simclr", "moco-adv"])
def test_the_seed_alone_decides_every_bit(
    make_model: MakeModel, source: Source, objective: Objective
) -> None:
    results, losses = [], []
    for global_seed, seed in ((1, 5), (2, 5), (1, 6)):
        model = make_model(dropout=0.5)
        torch.manual_seed(global_seed)
        random.seed(global_seed)
        np.random.seed(global_seed)
        records = run(model, source, stage(objective, "2epochs"), seed=seed)
        results.append(weights_of(model))
        losses.append([record.loss for record in records])
    assert equal(results[0], results[1])
    assert losses[0] == losses[1]
    assert not equal(results[0], results[2])


@pytest.mark.parametrize("closed_early", [False, True])
def test_global_random_states_are_left_alone(model: Classifier, source: Source, closed_early: bool) -> None:
    validation = Validation(source, THREAT, QUICK)
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    steps = train(stage(SimCLR(views=NOISY, hidden=6, width=4)), model, source, THREAT, validation=validation)
    for record in steps:
        # At every yield the user's code may draw.
        assert torch.equal(torch.get_rng_state(), before[0])
        if closed_early and record.step == 3:
            break
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state(legacy=False)) == str(before[2])


def test_what_the_user_draws_between_steps_changes_nothing(make_model: MakeModel, source: Source) -> None:
    results = []
    for draws in (False, True):
        model = make_model(dropout=0.5)
        for _ in train(stage(STOCHASTIC[0]), model, source, THREAT):
            if draws:
                torch.rand(3)
        results.append(weights_of(model))
    assert equal(*results)


def test_dropout_is_at_work(make_model: MakeModel, source: Source) -> None:
    # Otherwise the determinism above would be cheap.
    losses = [run(make_model(dropout=p), source, stage(budget="0.1epochs"))[0].loss for p in (0.0, 0.5)]
    assert losses[0] != losses[1]


# Weights that are kept


def test_training_learns_an_easy_task_robustly(model: Classifier, source: Source) -> None:
    validation = Validation(source, THREAT, QUICK)
    wanted = stage(MADRY, "150E", optimiser=AdamW(lr=0.01), validations=4)
    records = run(model, source, wanted, validation=validation)
    robust = [record.robust for record in records if record.robust is not None]
    assert robust[-1] >= 0.95
    assert records[-1].loss < 0.2 < records[0].loss


def test_without_validation_the_average_is_kept(make_model: MakeModel, source: Source) -> None:
    averaged, last = make_model(), make_model()
    seen: list[dict[str, Tensor]] = []
    for _ in train(stage(average=0.6, budget="2epochs"), averaged, source, THREAT):
        seen.append(weights_of(averaged))  # while it runs, the model has the present weights
    run(last, source, stage(average=0.0, budget="2epochs"))
    assert equal(weights_of(last), seen[-1])
    expected = {name: value.double() for name, value in weights_of(make_model()).items()}
    for t, weights in enumerate(seen, start=1):
        d = min(0.6, (1 + t) / (10 + t))
        for name, value in weights.items():
            floating = value.is_floating_point()
            expected[name] = d * expected[name] + (1 - d) * value.double() if floating else value.double()
    for name, value in weights_of(averaged).items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-6)
    assert not equal(weights_of(averaged), weights_of(last))


@dataclass
class Score:
    """What the loop reads of an evaluation."""

    value: float


@dataclass
class Found:
    robust: Score
    clean: Score
    status: str = "ok"


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([(0.2, 0.9), (-0.9, 0.9), (0.1, 0.9), (-0.8, 0.9)], 0),  # what can't be believed does not win
        ([(0.2, 0.9), (0.5, 0.5), (0.4, 0.9), (0.1, 0.9)], 1),  # robust decides, whatever clean says
        ([(0.5, 0.6), (0.5, 0.8), (0.5, 0.7), (0.5, 0.1)], 1),  # clean decides ties
        ([(0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.4, 0.9)], 2),  # then the later one
        ([(0.0, 0.1), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)], 0),
        ([(0.1, 0.1), (0.2, 0.1), (0.3, 0.1), (0.4, 0.1)], 3),
    ],
)
@pytest.mark.parametrize("average", [0.0, 0.6])
def test_the_model_ends_with_the_best_validated_weights(
    model: Classifier,
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    scores: list[tuple[float, float]],
    chosen: int,
    average: float,
) -> None:
    measured: list[dict[str, Tensor]] = []

    def scripted(model: Classifier, *_: object, **__: object) -> Found:
        measured.append(weights_of(model))
        robust, clean = scores[len(measured) - 1]
        # A negative score is one that a trust check calls unreliable.
        return Found(Score(abs(robust)), Score(clean), "ok" if robust >= 0 else "unreliable")

    monkeypatch.setattr(selection_module, "evaluate_unchecked", scripted)
    wanted = stage(budget="2epochs", validations=4, average=average)
    present: list[dict[str, Tensor]] = []
    records = []
    for record in train(wanted, model, source, THREAT, validation=Validation(source, THREAT)):
        records.append(record)
        present.append(weights_of(model))
    assert len(measured) == len(scores)
    assert equal(weights_of(model), measured[chosen])
    reported = [record for record in records if record.robust is not None]
    assert [(record.robust, record.clean) for record in reported] == [(abs(r), c) for r, c in scores]
    bests = [number for number, record in enumerate(reported) if record.best]
    assert bests[-1] == chosen
    assert not any(record.best for record in records if record.robust is None)
    # Validation itself moves nothing: training goes on from its own weights.
    at = [number for number, record in enumerate(records) if record.robust is not None]
    same = [equal(measured[k], present[step]) for k, step in enumerate(at)]
    assert all(same) if average == 0 else not any(same)


def test_a_stage_that_ruins_the_model_keeps_the_weights_from_before(
    source: Source, model: Classifier
) -> None:
    # From the middle on every label is wrong.
    class Turncoat:
        def start(self, model: Classifier, n: int) -> nn.Module:
            return ClassifierState(model)

        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            y = batch.y if step.progress < 0.5 else 1 - batch.y
            return Standard()(state, Batch(batch.x, y, batch.index), step)

    wanted = stage(Turncoat(), "16epochs", optimiser=AdamW(lr=0.02), average=0.0, validations=8)
    records = run(model, source, wanted, validation=Validation(source, THREAT, QUICK))
    clean = [record.clean for record in records if record.clean is not None]
    assert clean[-1] < 0.3
    images = torch.cat([batch.x for batch in source.epoch(None)])
    labels = torch.cat([batch.y for batch in source.epoch(None)])
    model.eval()
    assert float((model.logits(images).argmax(1) == labels).float().mean()) == max(clean) > 0.9


def test_a_failed_validation_gives_the_weights_back(
    model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []

    def fails(model: Classifier, *_: object, **__: object) -> None:
        seen.append(weights_of(model))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(selection_module, "evaluate_unchecked", fails)
    steps = train(stage(average=0.5), model, source, THREAT, validation=Validation(source, THREAT))
    with pytest.raises(RuntimeError, match="out of memory"):
        list(steps)
    assert not equal(weights_of(model), seen[0])  # the average was measured; the model has its own again


# What is left as it was


def flags(model: Classifier) -> tuple[list[bool], list[bool]]:
    return [w.requires_grad for w in model.parameters()], [part.training for part in model.modules()]


@dataclasses.dataclass
class Failing:
    """Raises in its third step, before or after the gradient."""

    def start(self, model: Classifier, n: int) -> nn.Module:
        return LinearProbe().start(model, n)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        if step.number == 2:
            raise ZeroDivisionError
        return LinearProbe()(state, batch, step)


@pytest.mark.parametrize("ending", ["whole", "closed", "dropped", "exception", "diverged"])
@pytest.mark.parametrize("objective", [MADRY, LinearProbe(), MoCo(views=NOISY, hidden=4, width=3)], ids=str)
def test_flags_modes_and_gradients_are_as_before(
    model: Classifier, source: Source, ending: str, objective: Objective
) -> None:
    model.eval()
    model.network.get_submodule("1").train()
    model.network.get_submodule("5").requires_grad_(False)
    hooks = {name: len(part._forward_pre_hooks) for name, part in model.named_modules()}
    before = flags(model)
    assert len(set(before[0])) == len(set(before[1])) == 2
    if ending == "exception":
        with pytest.raises(ZeroDivisionError):
            run(model, source, stage(Failing()))
    elif ending == "diverged":
        with pytest.raises(DivergedError):
            run(model, source, stage(Exploding(objective, "loss")))
    else:
        steps = train(stage(objective), model, source, THREAT)
        for record in steps:
            if ending != "whole" and record.step == 2:
                break
        if ending == "closed":
            assert isinstance(steps, Iterator)
            steps.close()
        del steps
    assert flags(model) == before
    assert all(weight.grad is None for weight in model.parameters())
    assert {name: len(part._forward_pre_hooks) for name, part in model.named_modules()} == hooks


def test_a_weight_that_the_user_froze_stays(model: Classifier, source: Source) -> None:
    fixed = model.network.get_submodule("0")
    fixed.requires_grad_(False)
    before = weights_of(model)
    run(model, source, stage(MADRY))
    after = weights_of(model)
    assert torch.equal(before["network.0.weight"], after["network.0.weight"])
    assert not torch.equal(before["network.5.weight"], after["network.5.weight"])


def test_a_probe_stage_trains_the_head_alone(model: Classifier, source: Source) -> None:
    before = weights_of(model)
    records = run(model, source, stage(LinearProbe(), "10epochs", optimiser=AdamW(lr=0.05)))
    after = weights_of(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"network.7.weight", "network.7.bias"}
    assert records[-1].loss < records[0].loss
    assert all(weight.requires_grad for weight in model.parameters())


def test_nothing_happens_before_the_first_step_is_asked_for(model: Classifier, source: Source) -> None:
    before, was = weights_of(model), flags(model)
    steps = train(stage(LinearProbe()), model, source, THREAT)
    assert flags(model) == was
    next(iter(steps))
    assert flags(model) != was
    assert not equal(weights_of(model), before)


# Divergence and unfit sources


@dataclass
class Exploding:
    """A loss, or a gradient alone, that is not a number in the second step."""

    objective: Objective
    what: str

    def start(self, model: Classifier, n: int) -> nn.Module:
        return self.objective.start(model, n)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        value = self.objective(state, batch, step)
        if step.number == 1:
            # sqrt(0) is finite and its derivative is not: infinity times zero is NaN.
            value = value + (torch.sqrt(value * 0) if self.what == "gradient" else math.inf)
        return value


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_divergence_is_an_error_and_never_reaches_the_weights(
    model: Classifier, source: Source, what: str
) -> None:
    steps = train(stage(Exploding(Standard(), what)), model, source, THREAT)
    next(steps)
    before = weights_of(model)
    with pytest.raises(DivergedError, match=what) as caught:
        next(steps)
    assert "step 2 of test" in caught.value.seen
    assert "learning rate" in caught.value.instead
    after = weights_of(model)
    for name, _ in model.named_parameters():
        assert torch.equal(after[name], before[name])
        assert bool(after[name].isfinite().all())


@dataclass
class Uneven:
    """A user's own source, with batches of these sizes."""

    sizes: list[int]
    batch_size: int = 4

    def __len__(self) -> int:
        return sum(self.sizes)

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        start = 0
        for size in self.sizes:
            x = torch.rand(size, 1, 6, 6, generator=torch.Generator().manual_seed(start))
            yield Batch(x, torch.arange(size) % 2, torch.arange(start, start + size))
            start += size

    def hold_out(self, fraction: float, seed: int) -> tuple[Source, Source]:
        raise NotImplementedError

    def describe(self) -> str:
        return "uneven"


def test_batches_of_one_image_are_skipped(model: Classifier) -> None:
    records = run(model, Uneven([4, 1, 3]), stage(budget="2epochs"))
    assert [record.examples for record in records] == [4, 7, 11, 14, 18]
    assert all(math.isfinite(record.loss) for record in records)


@pytest.mark.parametrize("sizes", [[], [1], [1, 1, 1]])
def test_a_source_without_a_batch_of_two_is_refused(model: Classifier, sizes: list[int]) -> None:
    before = weights_of(model), flags(model)
    with pytest.raises(InputError, match="two images") as caught:
        run(model, Uneven(sizes), stage(LinearProbe()))
    assert f"{len(sizes)} training images" in caught.value.seen
    assert equal(weights_of(model), before[0])
    assert flags(model) == before[1]


def test_a_state_without_a_classifier_is_refused(model: Classifier, source: Source) -> None:
    class Wrong:
        def start(self, model: Classifier, n: int) -> nn.Module:
            state = nn.Linear(1, 1)
            state.classifier = nn.Linear(1, 1)
            return state

        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            return Standard()(state, batch, step)

    with pytest.raises(TypeError, match="holds a Linear"):
        run(model, source, stage(Wrong()))
