"""A run that is interrupted goes on to the very same model; another run is refused with what differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, PROGRESS_FOLDER
from harden.attacks import PGD
from harden.data import from_loader, load
from harden.errors import InputError
from harden.evaluation import pgd_suite
from harden.hardening import Hardened, Recipe, finished, harden, job_of, plan_of
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.models.snapshot import write_snapshot
from harden.objectives import (
    LIET,
    AdversarialTraining,
    FreeAdversarialTraining,
    MoCo,
    Objective,
    PriorGuidedFGSM,
    SimCLR,
    Standard,
)
from harden.system.folder_lock import LOCK_FILE
from harden.threats import Linf
from harden.training import AdamW, Checkpoints, StepRecord, TailAverage
from harden.training.checkpointing import run_checkpoints as checkpoints_module
from harden.training.weights.weight_averaging import weights_of
from harden.views import DIGITS

SHORT = PGD(steps=1, step_size=1.0, keep_best=False)
RECIPE = Recipe(
    AdversarialTraining(SHORT), SimCLR(views=DIGITS, hidden=8, width=4), pretrain_share=0.4, validations=2
)
FIRST = {"threat": Linf("0.1"), "recipe": RECIPE, "budget": "14E", "seed": 3}

Make = Callable[[], Classifier]


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    train = load("digits").train
    return train.x[:150], train.y[:150]


def make(seed: int = 0) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Classifier(small_cnn(), mean=(0.3,), std=(0.35,))


class Killed(BaseException):
    """Ends a run where a kill would have: nothing of ours catches it."""


def run(data: object, place: Path | None, stop: int = 0, resume: bool = True, **other: Any) -> Hardened:
    """A run that keeps every step and is killed after `stop` steps of this process."""
    seen = 0

    def count(record: StepRecord) -> None:
        nonlocal seen
        seen += 1
        if seen == stop:
            raise Killed

    kept = None if place is None else Checkpoints(place, resume=resume, every=0.0)
    model = other.pop("model", None) or make()
    return harden(model, from_loader(data, 40), checkpoints=kept, on_step=count, **{**FIRST, **other})


@pytest.fixture(autouse=True)
def _every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints_module, "_COST_SHARE", 0.0)


@pytest.fixture(scope="module")
def whole(data: tuple[Tensor, Tensor]) -> Hardened:
    return run(data, None)


def check_equal(found: Hardened, whole: Hardened) -> None:
    mine, theirs = weights_of(found.model), weights_of(whole.model)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    untimed = [[replace_time(point) for point in one.origin.history] for one in (found, whole)]
    assert untimed[0] == untimed[1]
    assert [(one.passes, one.name) for one in found.origin.stages] == [
        (one.passes, one.name) for one in whole.origin.stages
    ]
    assert found.plan == whole.plan


def replace_time(point: Any) -> dict[str, Any]:
    return {**point.model_dump(), "seconds": 0.0}


def test_it_goes_on_after_any_number_of_kills(
    data: tuple[Tensor, Tensor], whole: Hardened, tmp_path: Path
) -> None:
    kills = 0
    for stop in (1, 2, 1, 3, 1, 4, 2):
        with pytest.raises(Killed):
            run(data, tmp_path, stop)
        kills += 1
    check_equal(run(data, tmp_path), whole)
    assert kills == 7


@pytest.mark.parametrize("share", [0.05, 0.35, 0.45, 0.7, 1.0])
def test_it_goes_on_from_either_stage(
    data: tuple[Tensor, Tensor], whole: Hardened, tmp_path: Path, share: float
) -> None:
    steps = sum(point.step for point in _last_of_each_stage(whole))
    with pytest.raises(Killed):
        run(data, tmp_path, max(1, round(share * steps)))
    check_equal(run(data, tmp_path), whole)


def _last_of_each_stage(found: Hardened) -> list[Any]:
    return list({point.stage: point for point in found.origin.history}.values())


def test_a_finished_run_is_read_and_not_run_again(
    data: tuple[Tensor, Tensor], whole: Hardened, tmp_path: Path
) -> None:
    run(data, tmp_path)
    again = run(data, tmp_path, stop=1)  # a single step would raise
    check_equal(again, whole)


def test_moco_goes_on_with_its_queue_and_momentum(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    recipe = replace(RECIPE, pretrain=MoCo(views=DIGITS, queue=40, hidden=8, width=4))
    expected = run(data, None, recipe=recipe)
    with pytest.raises(Killed):
        run(data, tmp_path, 4, recipe=recipe)
    check_equal(run(data, tmp_path, recipe=recipe), expected)


@pytest.mark.parametrize(
    "objective",
    [PriorGuidedFGSM(), FreeAdversarialTraining(replays=4), LIET(refresh=4)],
    ids=lambda each: type(each).__name__,
)
def test_objectives_that_keep_perturbations_go_on_with_them(
    data: tuple[Tensor, Tensor], tmp_path: Path, objective: Objective
) -> None:
    recipe = Recipe(objective, validations=1, average=TailAverage(0.5))
    expected = run(data, None, recipe=recipe, budget="8E")
    with pytest.raises(Killed):
        run(data, tmp_path, 6, recipe=recipe, budget="8E")
    check_equal(run(data, tmp_path, recipe=recipe, budget="8E"), expected)


def test_priors_that_take_too_much_memory_are_refused_before_the_first_step(
    data: tuple[Tensor, Tensor],
) -> None:
    recipe = replace(RECIPE, finetune=PriorGuidedFGSM(memory_limit=38_399))
    with pytest.raises(InputError, match=r"whose priors take 38,400 bytes; expected at most 38,399 bytes"):
        run(data, None, stop=1, recipe=recipe)  # a single step would raise


def test_unlabelled_images_are_what_pretraining_sees(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    more = torch.rand(333, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loader = [more[start : start + 64] for start in range(0, 333, 64)]
    expected = run(data, None, unlabelled=loader)
    assert not torch.equal(
        weights_of(expected.model)["network.0.weight"],
        weights_of(run(data, None).model)["network.0.weight"],
    )
    # Costs are told in the unit of the whole run: passes for each labelled image.
    spent = sum(stage.epochs_equivalent for stage in expected.origin.stages)
    assert 14 <= spent < 18
    with pytest.raises(Killed):
        run(data, tmp_path, 4, unlabelled=loader)
    check_equal(run(data, tmp_path, unlabelled=loader), expected)
    with pytest.raises(InputError, match=r"unlabelled.*; expected the same data, model and recipe"):
        run(data, tmp_path, unlabelled=[more[:64]])
    with pytest.raises(InputError, match="unlabelled images and nothing to pretrain; expected a contrastive"):
        harden(make(), data, threat=Linf("0.1"), unlabelled=loader)


def frozen_first(model: Classifier) -> Classifier:
    next(model.network.parameters()).requires_grad_(False)
    return model


def held_norm(model: Classifier) -> Classifier:
    model.network.get_submodule("1").eval()
    return model


def with_tanh(model: Classifier) -> Classifier:
    model.network._modules["2"] = torch.nn.Tanh()
    return model


OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "recipe": (
        {"recipe": replace(RECIPE, optimiser=AdamW(5e-3))},
        r"recipe\.optimiser\.lr 0\.15, now 0\.005",
    ),
    "objective": ({"recipe": Recipe(Standard())}, r"recipe\.finetune\.\S+ .*, now "),
    "budget": ({"budget": "15E"}, r"recipe\.budget 14E, now 15E"),
    "threat": ({"threat": Linf("0.2")}, r"threat\.eps 1/10, now 1/5"),
    "seed": ({"seed": 4}, "seed 3, now 4"),
    "weights": ({"model": make(1)}, r"model\.weights \w+\.\.\., now "),
    "mean": ({"model": Classifier(make().network)}, r"model\.\S+ .*, now "),
    "frozen": ({"model": frozen_first(make())}, r"model\.frozen .*, now network\.0\.weight"),
    "held": ({"model": held_norm(make())}, r"model\.held .*, now 1"),
    "layers": ({"model": with_tanh(make())}, r"model\.layers \w+\.\.\., now "),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_run_is_refused_with_what_differs(
    data: tuple[Tensor, Tensor], tmp_path: Path, name: str
) -> None:
    with pytest.raises(Killed):
        run(data, tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other, message = OTHER[name]
    with pytest.raises(InputError, match=f"of a run with .*{message}.*; expected the same data, model"):
        run(data, tmp_path, **other)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("change", ["pixel", "label", "fewer", "order of labels"])
def test_other_data_are_refused(data: tuple[Tensor, Tensor], tmp_path: Path, change: str) -> None:
    with pytest.raises(Killed):
        run(data, tmp_path, 2)
    x, y = data[0].clone(), data[1].clone()
    if change == "pixel":
        x[17, 0, 3, 3] = 1.0 - x[17, 0, 3, 3]
    elif change == "label":
        y[17] = (y[17] + 1) % 10
    elif change == "fewer":
        x, y = x[:-1], y[:-1]
    else:
        order = torch.arange(len(y)).flip(0)
        x, y = x[order], y[order]
    with pytest.raises(InputError, match=r"of a run with .*data\.\S+ .*, now "):
        run((x, y), tmp_path)


def test_what_else_was_asked_for_counts_too(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(data, tmp_path, 2)
    kept = Checkpoints(tmp_path, resume=True, also={"evaluation": {"steps": 50}})
    with pytest.raises(InputError, match="evaluation null, now "):
        harden(make(), from_loader(data, 40), checkpoints=kept, **FIRST)  # type: ignore[arg-type]  # a dict of keywords


def test_an_unfinished_run_is_not_written_over(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(data, tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"a run that did not end; expected .*; write --resume"):
        run(data, tmp_path, resume=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_resume_with_nothing_there_starts_anew(
    data: tuple[Tensor, Tensor], whole: Hardened, tmp_path: Path
) -> None:
    check_equal(run(data, tmp_path / "new" / "progress"), whole)
    # Killed between the plan and the first snapshot.
    with pytest.raises(Killed):
        run(data, tmp_path / "early", 1)
    (tmp_path / "early" / checkpoints_module.SNAPSHOT_FILE).unlink()
    check_equal(run(data, tmp_path / "early"), whole)


def test_a_full_disk_ends_the_run_and_the_last_snapshot_stays(
    data: tuple[Tensor, Tensor], whole: Hardened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def fill(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError(28, "No space left on device")
        write_snapshot(*arguments)

    monkeypatch.setattr(checkpoints_module, "write_snapshot", fill)
    with pytest.raises(OSError, match="No space left"):
        run(data, tmp_path)
    assert LOCK_FILE not in [path.name for path in tmp_path.iterdir()]
    monkeypatch.undo()
    check_equal(run(data, tmp_path), whole)


def test_a_damaged_snapshot_or_plan_is_refused(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(data, tmp_path, 2)
    for name in (checkpoints_module.SNAPSHOT_FILE, checkpoints_module.PLAN_FILE):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="start anew"):
            run(data, tmp_path)
        (tmp_path / name).write_bytes(content)


def test_a_refused_run_leaves_no_folder(tmp_path: Path) -> None:
    x, y = torch.rand(20, 1, 8, 8), torch.zeros(20, dtype=torch.int64)
    with pytest.raises(InputError):
        run((x, y), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_the_live_history_is_what_the_artefact_will_tell(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    for stop in (3, 4):
        with pytest.raises(Killed):
            run(data, tmp_path, stop)
    found = run(data, tmp_path)
    lines = (tmp_path / checkpoints_module.LIVE_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [point.model_dump() for point in found.origin.history]


def test_an_artefact_tells_its_plan_and_takes_the_progress_away(
    data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = {**FIRST, "budget": "5E"}
    plan = plan_of(job_of(make(), from_loader(data, 40), **arguments), "cpu")  # type: ignore[arg-type]  # a dict of keywords
    assert finished(out, plan) is None
    found = run(data, out / PROGRESS_FOLDER, budget="5E")
    assert finished(out, plan) is None
    test = load("digits").test
    found.export(out, (test.x[:30], test.y[:30]), attempts=pgd_suite(1, 1), notes={"model.json": "{}\n"})
    assert sorted(path.name for path in out.iterdir()) == [
        "certificate.json",
        "checkpoint",
        "evidence.npz",
        "history.jsonl",
        "model.onnx",
        "report.html",
    ]
    names = sorted(path.name for path in (out / CHECKPOINT_FOLDER).iterdir())
    assert names == ["model.json", "plan.json", "weights.safetensors"]
    again = finished(out, plan)
    assert again is not None
    assert again.folder == out
    with pytest.raises(InputError, match=r"of a run with seed 3, now 9; expected the same"):
        finished(out, {**plan, "seed": 9})
