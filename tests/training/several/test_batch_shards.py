"""Two processes make the steps of one: losses, weights, passes, whatever the objective and the last batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from harden.data import Batch
from harden.models import PassMeter
from harden.system.ranks import ALONE, Ranks
from harden.system.shards import current_shard
from harden.training.several.batch_shards import (
    BatchPart,
    computed_by_first,
    counting_all,
    divided,
    is_divided,
)
from tests.processes import ended, started
from tests.training.several.cases import CASES, apart, run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All runs as two processes make them; two starts of Python for all of them."""
    folder = tmp_path_factory.mktemp("ranks")
    for code, _, said in ended(started(["-m", "tests.training.several.cases", str(folder)], 2)):
        assert (code, said) == (0, "")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_run_of_one(name: str, found: list[dict[str, Any]]) -> None:
    alone, (one, other) = run(CASES[name]), (each[name] for each in found)
    # Both have the same bits, and all that they decide by.
    assert one["records"] == other["records"]
    assert apart(one["weights"], other["weights"]) == 0
    close = CASES[name].close
    assert apart(alone["weights"], one["weights"]) <= close
    assert len(alone["records"]) == len(one["records"]) >= 20
    for expected, record in zip(alone["records"], one["records"], strict=True):
        assert record.loss == pytest.approx(expected.loss, abs=close)
        assert (record.passes, record.examples) == (expected.passes, expected.examples)
        assert (record.progress, record.clean, record.robust, record.best) == (
            expected.progress,
            expected.clean,
            expected.robust,
            expected.best,
        )


def test_the_clock_of_one_process_ends_both(found: list[dict[str, Any]]) -> None:
    one, other = (each["timed"] for each in found)
    assert one["records"] == other["records"]
    assert one["records"][-1].progress == 1.0
    assert apart(one["weights"], other["weights"]) == 0


def test_a_loss_that_is_nan_in_one_process_takes_both_back(found: list[dict[str, Any]]) -> None:
    for each in found:
        events = [record.event for record in each["nan once"]["records"] if record.event]
        assert len(events) == 1
        assert events[0].startswith("divergence: a loss of nan at step")


def test_runs_that_could_be_equal_by_accident_are_not(found: list[dict[str, Any]]) -> None:
    """Weights that hardly move would agree whatever the processes exchanged."""
    for name in CASES:
        each = found[0][name]
        moved = apart(each["weights"], run(CASES[name], steps=1)["weights"])
        assert moved > 1e-3, name


def test_one_process_has_the_whole_batch() -> None:
    batch = Batch(torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64), torch.arange(5))
    with divided(batch, ALONE) as part:
        assert part.batch is batch
        assert current_shard() is None
    assert part.loss(0.3) == 0.3
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    part.backward((weight * 3).sum(), [weight])
    assert weight.grad is not None
    assert float(weight.grad) == 3


@pytest.mark.parametrize(("n", "size", "yes"), [(4, 2, True), (3, 2, False), (1, 2, False), (9, 1, False)])
def test_a_batch_is_divided_where_each_process_gets_two(n: int, size: int, yes: bool) -> None:
    assert is_divided(n, Ranks(0, size)) is yes


def test_a_small_batch_is_computed_whole() -> None:
    batch = Batch(torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64), torch.arange(3))
    with divided(batch, Ranks(1, 2)) as part:
        assert (len(part.batch), part.share, current_shard()) == (3, 0.5, None)


def test_parts_cover_the_batch() -> None:
    batch = Batch(torch.rand(9, 1, 2, 2), torch.zeros(9, dtype=torch.int64), torch.arange(9))
    seen: list[int] = []
    shares = []
    for rank in range(4):
        with divided(batch, Ranks(rank, 4)) as part:
            seen += part.batch.index.tolist()
            shares.append(part.share)
            shard = current_shard()
            assert shard is not None
            assert (shard.n, shard.share) == (9, part.share)
        assert current_shard() is None
    assert seen == list(range(9))
    assert math.isclose(sum(shares), 1)


def test_passes_of_one_process_are_counted_as_ever() -> None:
    meter = PassMeter()
    with counting_all(meter, ALONE, divided=True):
        meter.include(2.0)
    assert meter.passes == 2.0
    assert computed_by_first(lambda: "found", meter, ALONE) == "found"
    assert isinstance(BatchPart(ALONE, Batch(*[torch.zeros(0)] * 3), 1.0), BatchPart)
